// The class of a document, a story, a picture, a scene, a spectrogram or a series, given by a network from the literature. Items are the
// sentences of a document, the statements of a story, the patches of a picture or spectrogram, or the intervals of a series. As "masked",
// the tokens of a sentence or statement are replaced by masking_token(), and other items by InputKind::mask.
#include <algorithm>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "explain/answer_kind.h"
#include "explain/sides.h"
#include "explain/target_words.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"
#include "ops/recorder.h"

namespace clearhead::explain {
namespace {

class InputTarget final : public AttributionTarget {
 public:
  InputTarget(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked)
      : AttributionTarget(std::move(model)),
        network_(network_model(*model_, "has no input other than texts")),
        read_(encode_input(network_.facts(), network_.tokenizer_or_null(), input)) {
    HeardSites heard;
    observe(*model_, input, heard);
    plan_ = heard.plan;
    side_ = query_side(heard.last);
    rows_ = {0};
    find_items();
    answer_with_label(asked, asked.target, "class", logits_of(read_, {}));
  }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<double> out;
    for (const std::vector<uint8_t>& set : removed) {
      const std::vector<uint8_t> away = removed_ids(set);
      const Tensor logits =
          how == RemovedBy::kUnseen ? logits_of(read_, {.interventions = hidden_keys(plan_, items_, away)}) : logits_of(masked(away), {});
      out.push_back(probability_of(logits.data<float>(), logits.size(1)));
    }
    return out;
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    const Tensor logits = logits_of(read_, {.observer = observer, .interventions = interventions});
    return outcome_of(logits.data<float>(), logits.size(1));
  }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    return backward(tape, logits_of(read_, {.observer = observer, .interventions = interventions, .recorder = &tape}), number);
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

  // Makes the features of an input a leaf of the tape: gradients are taken with respect to them, as with respect to embeddings for texts.
  static void start_at(Batch& rows, Recorder* recorder) {
    if (recorder && rows.features.defined()) recorder->embedded("picture", rows.features);
  }

  // [1, label]
  Tensor logits_of(const EncodedInput& read, const RunOptions& options) const {
    EncodedBatch batch = collate({&read}, network_.facts().pad);
    start_at(batch.input, options.recorder);
    if (batch.source) start_at(*batch.source, options.recorder);
    return network_.run_batch(batch.input, batch.source_or_null(), options).class_logits;
  }

  EncodedInput masked(const std::vector<uint8_t>& away) const {
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

  const LoadedNetwork& network_;
  EncodedInput read_;
  int64_t first_ = 0;  // id of the first item
};

}  // namespace

const AnswerKind& input_class_answer() {
  static const AnswerKind kind{
      .name = "class",
      .applies =
          [](const ModelInfo& info) {
            const InputKind& read = input_kind(info);
            return !read.is_text() && read.form != InputKind::Form::kNode && !read.has_target && !info.labels.empty();
          },
      .of_input = target_of_input<InputTarget>,
      .shown = [](const Model& model, const RunResult& result, const auto&) { return class_answers(model, result.class_logits); },
  };
  return kind;
}

}  // namespace clearhead::explain
