// Sentence embedding settings as sentence-transformers stores them beside a model.
//
//   modules.json                 Transformer → Pooling → Normalize, in this order
//   1_Pooling/config.json        how the rows of the last hidden state are pooled
//   sentence_bert_config.json    max_seq_length, do_lower_case
//   tokenizer_config.json        model_max_length: the limit without a max_seq_length
//   config_sentence_transformers.json   prompts, default_prompt_name: the text that is put in front of every sentence
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
  std::string refusal{};  ///< message about a setting that is not supported; empty: none
  Pooling pooling = Pooling::kMean;
  bool normalise = false;
  int64_t longest = 0;      ///< in tokens; 0: the model's limit
  bool lowercases = false;  ///< texts are lowercased before tokenizer.json's own normalizer
  std::string prompt{};     ///< the text of the default prompt
};

/// Reads the files that exist. Throws kFormat for malformed files. Unsupported settings are reported in `refusal`.
SentenceFacts read_sentence_facts(const std::string& directory);

/// The model's tokenizer, changed as the settings ask. Throws kUnsupported if they ask for lower case and there is no
/// tokenizer.json.
std::shared_ptr<const Tokenizer> sentence_tokenizer(const SentenceFacts& facts, const std::string& directory,
                                                    std::shared_ptr<const Tokenizer> own);

/// hidden: f32 [tokens, width] → [width]
std::vector<float> pool_sentence(const SentenceFacts& facts, const Tensor& hidden);

}  // namespace clearhead
