// Attribution targets for models that read a single text, or a pair of texts together. Sets of removed items run in batches; a hidden token
// gets the document number −1, like padding, so that no other token attends to it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/residual_stream.h"
#include "explain/answer_kind.h"
#include "explain/attribution_target.h"

namespace clearhead::explain {

/// A text and its tokens. Both texts are absent if only ids are known.
struct TokenizedText {
  Encoding encoding{};
  std::optional<std::string> text{}, pair{};
};
TokenizedText tokenized(const Model& model, const ModelInput& input);

/// True for a model whose answer about a text is a class of the text or of its tokens.
bool classifies(const ModelInfo& info);
/// True for a model that reads one text, or two together; false for an encoder-decoder.
bool reads_one_text(const ModelInfo& info);

/// AnswerKind::of_input and of_ids for a target whose constructor takes (model, TokenizedText, TargetSpec).
template <class Target>
AnswerKind answers_of_text(AnswerKind kind) {
  kind.of_input = [](std::shared_ptr<const Model> model, const ModelInput& input,
                     const TargetSpec& asked) -> std::unique_ptr<AttributionTarget> {
    TokenizedText text = tokenized(*model, input);
    return std::make_unique<Target>(std::move(model), std::move(text), asked);
  };
  kind.of_ids = [](std::shared_ptr<const Model> model, const Encoding& ids, const TargetSpec& asked,
                   const std::optional<Encoding>& written) -> std::unique_ptr<AttributionTarget> {
    if (written)
      fail(ErrorCode::kInvalidArgument, "{}: this model generates no text from a source; expected one list of ids", model->info().name);
    return std::make_unique<Target>(std::move(model), TokenizedText{.encoding = ids}, asked);
  };
  return kind;
}

/// A derived class's constructor sets `rows_` to the row from which the answer is read, then the answer, and calls finish().
class TextTarget : public AttributionTarget {
 public:
  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override;
  std::vector<std::vector<double>> log_probabilities(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override;
  Outcome run(Observer* observer, const Interventions& interventions) const override;
  Tensor mixed_vectors(int layer, int64_t row) const override;
  Tensor states_without_value(int layer, int64_t token) const override;
  Tensor states() const override;
  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override;

 protected:
  /// The member of RunResult that contains the logits from which the answer is read.
  using Logits = Tensor RunResult::*;
  /// Throws kInvalidArgument for a text without tokens.
  TextTarget(std::shared_ptr<const Model> model, TokenizedText text, Logits logits);
  /// The token that "token N" names. Throws kNotFound unless it is between `first` and the last token.
  std::optional<int64_t> token_named(const TargetSpec& asked, int64_t first) const;
  /// The row that a classifier of texts reads: the first token's, or for a causal model that of the last token that is not padding (0 if
  /// all are).
  int64_t row_of_classifier() const;
  /// The logits at row() of the unchanged text: [1, count]
  Tensor first_logits() const;
  /// Checks the tokens of answer and contrast, and describes them: `what`, then the answer in quotes.
  void describe_tokens(const char* what, int64_t count);
  /// The first of rows(), and the only one that can be a token of the text itself.
  int64_t row() const { return rows_.front(); }
  /// Completes the target once the answer is known.
  void finish();

  TokenizedText text_;  // for a span, including all of its tokens except the last
  Logits logits_;

 private:
  struct MixedLayer {
    int layer = 0;
    TokenMixing mixing;
  };
  mutable std::optional<MixedLayer> mixed_{};  // the layer that was asked for last
  const TokenMixing& mixing(int layer) const;
  // Receives the logits of a set, [row of the answer, count].
  using Read = std::function<void(size_t set, const float* logits, int64_t count)>;
  void read_without(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how, const Read& read) const;
  void read_some(const std::vector<std::vector<uint8_t>>& removed, const std::vector<size_t>& sets, RemovedBy how, const Read& read) const;
  void read_shortened(size_t set, const std::vector<uint8_t>& hidden, Interventions interventions, const Read& read) const;
  Batch batch(const std::vector<std::vector<int32_t>>& ids, const std::vector<std::vector<uint8_t>>& hidden) const;
  RunOptions run_options(Observer* observer, const Interventions& interventions, int64_t sets) const;
  // [set · row of the answer, count], a view.
  Tensor logits_of(const RunResult& result) const;
};

}  // namespace clearhead::explain
