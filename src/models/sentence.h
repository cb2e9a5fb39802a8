// Sentence embedding settings as sentence-transformers stores them beside a model.
//
//   modules.json                 Transformer → Pooling → Normalize, in this order
//   1_Pooling/config.json        how the rows of the last hidden state are pooled
//   sentence_bert_config.json    max_seq_length
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

struct SentenceFacts {
  enum class Pooling : uint8_t { kMean, kFirst, kMax, kMeanSqrtLength, kLast };
  bool declared = false;  ///< modules.json exists
  std::string refusal{};  ///< message about a setting that is not supported; empty: none
  Pooling pooling = Pooling::kMean;
  bool normalise = false;
  int64_t longest = 0;  ///< in tokens; 0: the model's limit
};

/// Reads the files that exist. Throws kFormat for malformed files. Unsupported settings are reported in `refusal`.
SentenceFacts read_sentence_facts(const std::string& directory);

/// hidden: f32 [tokens, width] → [width]
std::vector<float> pool_sentence(const SentenceFacts& facts, const Tensor& hidden);

}  // namespace clearhead
