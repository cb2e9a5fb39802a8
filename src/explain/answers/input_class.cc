// The class of a document, a story, a picture, a scene, a spectrogram or a series, or the action of an episode, given by a network from the
// literature. Items are the sentences of a document, the statements of a story, the steps of an episode, the patches of a picture or
// spectrogram, or the intervals of a series.
#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "explain/answer_kind.h"
#include "explain/item_target.h"
#include "models/input_kind.h"

namespace clearhead::explain {
namespace {

class InputTarget final : public ItemTarget {
 public:
  InputTarget(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked) : ItemTarget(std::move(model), input) {
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
  int32_t most_probable_ = 0;
};

}  // namespace

const AnswerKind& input_class_answer() {
  static const AnswerKind kind{
      .name = "class",
      .applies =
          [](const ModelInfo& info) {
            const InputKind& read = input_kind(info);
            return info.output.empty() && !read.is_text() && read.form != InputKind::Form::kNode && !read.has_target &&
                   !info.labels.empty() && info.problem != ProblemType::kRegression;
          },
      .of_input = target_of_input<InputTarget>,
      .shown = [](const Model& model, const RunResult& result, const auto&) { return class_answers(model, result.class_logits); },
  };
  return kind;
}

}  // namespace clearhead::explain
