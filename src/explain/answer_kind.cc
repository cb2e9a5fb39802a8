// Finds the kind of a model's answers, makes attribution targets, and converts logits to answers.
#include "explain/answer_kind.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "ops/ops.h"

namespace clearhead::explain {
namespace {

std::string name_of(const Tokenizer& tokenizer, int32_t id) {
  const std::string bytes = tokenizer.token_bytes(id);
  return bytes.empty() ? std::string(tokenizer.token(id)) : bytes;
}

const AnswerKind& required_kind(const Model& model) {
  const ModelInfo& info = model.info();
  if (const AnswerKind* kind = answer_kind(info)) return *kind;
  if (!input_kind(info).is_text()) {
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\", which reads a {}, predicts no class that could be explained", info.name,
         info.model_type, info.reads);
  }
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" predicts neither a class nor a word that could be explained", info.name,
       info.model_type);
}

}  // namespace

const AnswerKind* answer_kind(const ModelInfo& info) {
  for (const AnswerKind* kind : answer_kinds()) {
    if (kind->applies(info)) return kind;
  }
  return nullptr;
}

std::unique_ptr<AttributionTarget> make_target(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked) {
  const AnswerKind& kind = required_kind(*model);
  return kind.of_input(std::move(model), input, asked);
}

std::unique_ptr<AttributionTarget> make_target(std::shared_ptr<const Model> model, const Encoding& ids, const TargetSpec& asked,
                                               const std::optional<Encoding>& written) {
  const AnswerKind& kind = required_kind(*model);
  if (!kind.of_ids)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads a {}; its answers cannot be explained from token ids",
         model->info().name, model->info().model_type, model->info().reads);
  return kind.of_ids(std::move(model), ids, asked, written);
}

std::optional<double> divergence(const ModelInfo& info, const Answers& before, const Answers& after) {
  const AnswerKind* kind = answer_kind(info);
  // The answers of a model with outputs of another kind, such as boxes, belong to several objects.
  const bool are_independent = !info.output.empty() || (!info.labels.empty() && info.problem == ProblemType::kMultiLabel);
  if (!kind || kind->is_sequence || are_independent || before.names.empty()) return std::nullopt;
  double sum = 0;
  for (size_t at = 0; at < before.probabilities.size(); ++at) {
    const double p = before.probabilities[at], q = std::max(after.probabilities[at], 1e-300);
    if (p > 0) sum += p * std::log(p / q);
  }
  return std::max(0.0, sum);
}

size_t most_probable(const Answers& answers) {
  const std::vector<double>& all = answers.probabilities;
  return static_cast<size_t>(std::max_element(all.begin(), all.end()) - all.begin());
}

Answers class_answers(const Model& model, const Tensor& logits) {
  if (!logits.defined()) return {};
  const ModelInfo& info = model.info();
  Answers out{.names = info.labels, .probabilities = ops::softmax_of(logits.data<float>(), logits.size(1))};
  for (size_t at = 0; info.problem == ProblemType::kMultiLabel && at < out.names.size(); ++at)
    out.probabilities[at] = 1 / (1 + std::exp(-static_cast<double>(logits.data<float>()[at])));
  return out;
}

Answers token_answers(const Model& model, const Tensor& logits) {
  if (!logits.defined()) return {};
  Answers out{.probabilities = ops::softmax_of(logits.data<float>(), logits.size(1))};
  for (int32_t id = 0; id < static_cast<int32_t>(out.probabilities.size()); ++id) out.names.push_back(name_of(model.tokenizer(), id));
  return out;
}

Answers written_answers(const Model& model, const RunResult& result, const std::vector<int32_t>& written) {
  Answers out;
  const int64_t vocabulary = result.causal_logits.size(2);
  const float* logits = result.causal_logits.data<float>();
  for (size_t at = 0; at < written.size(); ++at) {
    out.names.push_back(name_of(model.tokenizer(), written[at]));
    out.probabilities.push_back(
        ops::softmax_of(logits + static_cast<int64_t>(at) * vocabulary, vocabulary)[static_cast<size_t>(written[at])]);
  }
  return out;
}

}  // namespace clearhead::explain
