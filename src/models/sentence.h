// How a sentence becomes one vector: what sentence-transformers keeps in modules.json beside a model.
//
//   modules.json                 Transformer → Pooling → Normalize, in this order
//   1_Pooling/config.json        which rows of the last hidden state, and how they are joined
//   sentence_bert_config.json    max_seq_length
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

struct SentenceFacts {
  enum class Pooling : uint8_t { kMean, kFirst, kMax, kMeanSqrtLength, kLast };
  bool declared = false;  ///< modules.json is there
  std::string refusal{};  ///< what of it is not supported; empty: nothing
  Pooling pooling = Pooling::kMean;
  bool normalise = false;
  int64_t longest = 0;  ///< tokens, 0: as the model
};

/// Reads what is there. Throws kFormat for files that are not what they should be; what is not supported is said in `refusal`.
SentenceFacts read_sentence_facts(const std::string& directory);

/// hidden: f32 [tokens, width]
std::vector<float> pool_sentence(const SentenceFacts& facts, const Tensor& hidden);

}  // namespace clearhead
