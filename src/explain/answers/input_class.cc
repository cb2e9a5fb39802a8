// The class of a document, a story, a picture, a scene, a spectrogram or a series, or the action of an episode, given by a network from the
// literature. Items are the sentences of a document, the statements of a story, the steps of an episode, the patches of a picture or
// spectrogram, or the intervals of a series. As "masked", the tokens of a sentence, statement or observation are replaced by
// masking_token(), and other items by InputKind::mask.
#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "explain/answer_kind.h"
#include "explain/network_target.h"
#include "models/input_kind.h"

namespace clearhead::explain {
namespace {

class InputTarget final : public NetworkTarget {
 public:
  InputTarget(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked)
      : NetworkTarget(std::move(model), input, "accepts only texts as input") {
    const int64_t queries = ids_of_side(plan_, side_).size();
    rows_ = {std::max<int64_t>(0, queries - 1)};  // the last query; most networks have only one
    if (network_.facts().answers_from_all) {
      rows_.resize(static_cast<size_t>(queries));
      std::iota(rows_.begin(), rows_.end(), 0);
    }
    find_items();
    const Tensor logits = logits_of(read_, {});
    most_probable_ = largest(logits.data<float>(), logits.size(1));
    answer_with_label(asked, asked.target, "class", logits);
  }

  // The maps of a model that draws are those of its most probable class. Other classes have no gradient with respect to them.
  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    if (network_.facts().answers_from_all && answer_ids().front() != most_probable_)
      fail(ErrorCode::kUnsupported,
           "why: the maps of {} are those of its most probable class, \"{}\", so that gradients explain no other class; use --method "
           "occlusion",
           model_->info().name, model_->info().labels[static_cast<size_t>(most_probable_)]);
    return NetworkTarget::differentiate(tape, observer, interventions, number);
  }

 private:
  void find_items() {
    const InputKind& kind = input_kind(model_->info());
    std::vector<Range> items;
    for (const ItemRange& range : plan_.text.items) {
      if (!kind.item || range.kind != kind.item) continue;
      first_ = range.begin;
      for (int64_t id = range.begin; id < range.end; ++id) items.push_back({id, id + 1});
    }
    if (items.empty())
      fail(ErrorCode::kUnsupported, "{}: a model that reads a {} has no items that can be removed", model_->info().name,
           model_->info().reads);
    begin_with(std::move(items));
  }

  EncodedInput masked(const std::vector<uint8_t>& away) const override {
    EncodedInput out = read_;
    EncodedSide& changed = out.source ? *out.source : out.input;
    if (changed.features.defined()) {
      const Tensor read = changed.features;
      changed.features = read.clone();
      for (size_t id = static_cast<size_t>(first_); id < away.size(); ++id) {
        if (away[id]) input_kind(model_->info()).mask(network_.facts(), static_cast<int64_t>(id) - first_, read, changed.features);
      }
      return out;
    }
    for (size_t item = 0; item < changed.sequences.size(); ++item) {
      std::vector<int32_t>& ids = changed.sequences[item];
      if (away[static_cast<size_t>(first_) + item]) std::fill(ids.begin(), ids.end(), hiding_token());
    }
    return out;
  }

  int64_t first_ = 0;  // id of the first item
  int32_t most_probable_ = 0;
};

}  // namespace

const AnswerKind& input_class_answer() {
  static const AnswerKind kind{
      .name = "class",
      .applies =
          [](const ModelInfo& info) {
            const InputKind& read = input_kind(info);
            return !read.is_text() && read.form != InputKind::Form::kNode && !read.has_target && !info.labels.empty() &&
                   info.problem != ProblemType::kRegression;
          },
      .of_input = target_of_input<InputTarget>,
      .shown = [](const Model& model, const RunResult& result, const auto&) { return class_answers(model, result.class_logits); },
  };
  return kind;
}

}  // namespace clearhead::explain
