// Settings of sentence embeddings, as sentence-transformers stores them in a model's directory.
//
//   modules.json                 Transformer → Pooling → Normalize, in this order
//   1_Pooling/config.json        how the rows of the last hidden state are pooled
//   sentence_bert_config.json    max_seq_length, do_lower_case
//   tokenizer_config.json        model_max_length: the limit if there is no max_seq_length
//   config_sentence_transformers.json   prompts, default_prompt_name: a text that is prepended to every sentence
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/tensor.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

struct SentenceFacts {
  enum class Pooling : uint8_t { kMean, kFirst, kMax, kMeanSqrtLength, kLast };
  bool declared = false;  ///< modules.json exists
  std::string refusal{};  ///< error message about an unsupported setting; empty: none
  Pooling pooling = Pooling::kMean;
  bool normalise = false;
  int64_t longest = 0;      ///< maximum number of tokens; 0: the model's limit
  bool lowercases = false;  ///< texts are lowercased before the normalizer of tokenizer.json
  std::string prompt{};     ///< the text of the default prompt
};

/// Reads the files that exist. Throws kFormat for malformed files. Unsupported settings are reported in `refusal`.
SentenceFacts read_sentence_facts(const std::string& directory);

/// Returns the model's tokenizer, with lowercasing added if the settings require it. Throws kUnsupported if they require it and
/// there is no tokenizer.json.
std::shared_ptr<const Tokenizer> sentence_tokenizer(const SentenceFacts& facts, const std::string& directory,
                                                    std::shared_ptr<const Tokenizer> own);

/// Pools the last hidden state to one vector, and normalises it if the settings say so.
/// hidden: f32 [tokens, width] → [width]
std::vector<float> pool_sentence(const SentenceFacts& facts, const Tensor& hidden);

}  // namespace clearhead
