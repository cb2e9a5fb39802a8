// Kinds of answers: a class, the next token, a generated text, … An AnswerKind makes the attribution target that explains an answer, and
// reads the answers of a run, so that two runs can be compared. Each kind is one file in answers/; no other code chooses an explanation by
// the output heads of a model.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clearhead/model.h"
#include "explain/attribution_target.h"

namespace clearhead::explain {

struct RobustKind;  // explain/evaluate/robustness.h

/// The answers of a run, each with its probability.
struct Answers {
  std::vector<std::string> names{};
  std::vector<double> probabilities{};
};

/// AnswerKind::of_input for a target whose constructor takes (model, ModelInput, TargetSpec).
template <class Target>
std::unique_ptr<AttributionTarget> target_of_input(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked) {
  return std::make_unique<Target>(std::move(model), input, asked);
}

struct AnswerKind {
  std::string_view name{};                           // in the viewer's protocol: "class", "number", "tag", "next", "masked", "written"
  bool (*applies)(const ModelInfo& info) = nullptr;  // at most one kind applies to a model

  /// make_target() for this kind. of_ids is null for models that read no token ids.
  std::unique_ptr<AttributionTarget> (*of_input)(std::shared_ptr<const Model> model, const ModelInput& input,
                                                 const TargetSpec& asked) = nullptr;
  std::unique_ptr<AttributionTarget> (*of_ids)(std::shared_ptr<const Model> model, const Encoding& ids, const TargetSpec& asked,
                                               const std::optional<Encoding>& written) = nullptr;

  /// The answers that a target can name, for a list to choose from. Null: the model's labels.
  std::vector<std::string> (*choices)(const Model& model) = nullptr;

  bool of_each_token = false;  // every token of a text has an answer: "token N" names it
  bool is_sequence = false;    // the answer is a sequence of tokens, each with a probability; otherwise one of several alternatives
  /// The answers of a run with TraceRequest::logits. written: the tokens that the model generated. Null: the model has no answer for
  /// the whole input.
  Answers (*shown)(const Model& model, const RunResult& result, const std::vector<int32_t>& written) = nullptr;
  /// The alternatives for one token of the text. Null: an answer is not one of several labels of a token.
  Answers (*shown_at)(const Model& model, const RunResult& result, int64_t token) = nullptr;

  const RobustKind* robustness = nullptr;  // null: how these answers change with the text cannot be measured
};

/// All kinds; the build generates this list from the files in answers/.
const std::vector<const AnswerKind*>& answer_kinds();
/// The kind of the model's answers; null if it gives none that can be explained, such as an embedding.
const AnswerKind* answer_kind(const ModelInfo& info);

/// KL divergence Σ p ln(p / q) in nats of the answers `before` (p) and `after` (q). Absent if they are no distribution over the same
/// alternatives: generated tokens, independent labels.
std::optional<double> divergence(const ModelInfo& info, const Answers& before, const Answers& after);

/// The index of the most probable of several answers.
size_t most_probable(const Answers& answers);

/// Helpers for implementations of AnswerKind::shown: the softmax (for independent labels, the sigmoid) of class logits [1, label], and the
/// softmax of token logits [row, vocabulary] at row 0. Both are empty for an undefined tensor.
Answers class_answers(const Model& model, const Tensor& logits);
Answers token_answers(const Model& model, const Tensor& logits);
/// The probability of each generated token, read from the row before it.   logits: [1, row, vocabulary]
Answers written_answers(const Model& model, const RunResult& result, const std::vector<int32_t>& written);

}  // namespace clearhead::explain
