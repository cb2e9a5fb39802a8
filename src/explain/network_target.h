// The class that a network from the literature gives an input, as an answer to explain. A derived class chooses the items and says what
// an input without some of them is.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "clearhead/answers.h"
#include "explain/attribution_target.h"
#include "explain/sides.h"
#include "explain/target_words.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"
#include "ops/recorder.h"

namespace clearhead::explain {

class NetworkTarget : public AttributionTarget {
 public:
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

 protected:
  /// Runs the input once, and sets the plan and the side of the queries. refusal: what a model that
  /// is not a network does not do, for the error message: "does not read graphs".
  NetworkTarget(std::shared_ptr<const Model> model, const ModelInput& input, const char* refusal)
      : AttributionTarget(std::move(model)),
        network_(network_model(*model_, refusal)),
        read_(encode_input(network_.facts(), network_.tokenizer_or_null(), input)) {
    HeardSites heard;
    observe(*model_, input, heard);
    plan_ = heard.plan;
    side_ = query_side(heard.last);
  }

  /// The input without the items whose ids are flagged.   away: [id]
  virtual EncodedInput masked(const std::vector<uint8_t>& away) const = 0;

  /// Selects the logits that the answer is computed from.   logits: the model's outputs for one input
  virtual Tensor answer_row(const Tensor& logits) const { return logits; }

  /// Makes the features of an input a leaf of the tape: gradients are taken with respect to them, as with respect to embeddings for texts.
  static void start_at(Batch& rows, Recorder* recorder) {
    if (recorder && rows.features.defined()) recorder->embedded("features", rows.features);
  }

  /// The logits of an encoded input, [1, label]: answer_row() of the outputs.
  Tensor logits_of(const EncodedInput& read, const RunOptions& options) const {
    EncodedBatch batch = collate({&read}, network_.facts().pad);
    start_at(batch.input, options.recorder);
    if (batch.source) start_at(*batch.source, options.recorder);
    return answer_row(network_.run_batch(batch.input, batch.source_or_null(), options).class_logits);
  }

  const LoadedNetwork& network_;
  EncodedInput read_;
};

}  // namespace clearhead::explain
