// The parts of BERT that later families share: its encoder, the classifier, the settings of question answering, and the names of tensors
// that files may contain although nothing reads them.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/families/facts.h"

namespace clearhead {

// Tensors that do not change the result: buffers of older versions, heads of tasks that config.json does not name, and a second copy
// of the bias of the masked-LM head.
inline const std::vector<std::string> kBertUnread = {
    "embeddings.position_ids", "embeddings.token_type_ids", "qa_outputs.*", "classifier.*", "cls.predictions.bias", "lm_head.bias"};

// Old checkpoints call the weights of norms gamma and beta, as in TensorFlow.
inline const std::vector<std::pair<std::string, std::string>> kBertTensorFlowNames = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                                                                      {"LayerNorm.bias", "LayerNorm.beta"}};

LinearNames bert_pooler();
/// Reads what BERT and RoBERTa have in common: the same fields, and the same names of weights after `prefix`.
Architecture bert_encoder(Config& config, const std::string& prefix);
/// The classifier of every token if "architectures" names a model for token classification or question answering, otherwise the
/// classifier of the first token.
ClassifierFacts bert_classifier(const Architecture& facts, const LinearNames& dense, Activation activation, const std::string& out);
/// Reads "answers", which our training writes (defaults for configs without it): the settings of a model that answers questions with spans;
/// absent for other models. Refuses a head that does not have two outputs.
std::optional<AnswerSettings> answer_settings(Config& config, const Architecture& facts);

}  // namespace clearhead
