// Writes tokenizer.json, field by field as the `tokenizers` package does.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace clearhead {

/// The contents of a vocabulary. Tokens by id; the first `special` of them are special tokens, matched literally in a text.
struct VocabularyTables {
  std::vector<std::string> tokens{};
  std::vector<std::pair<int32_t, int32_t>> merges{};  // by rank; BPE only
  int64_t special = 0;
};

struct BpeSteps {
  bool splits_words = false;  // by GPT-2's pattern; otherwise the whole text is one word
  bool lowercase = false;     // texts are lower-cased and get a leading space
  std::string end{};          // a special token that the tokenizer appends to every text; empty: none
};
/// Byte-level BPE.
std::string bpe_tokenizer_json(const VocabularyTables& tables, const BpeSteps& steps);
Json lowercase_normalizer();
/// BERT's WordPiece in lower case. The tokenizer adds [CLS] and [SEP] around a text if they are among the special tokens.
std::string wordpiece_tokenizer_json(const VocabularyTables& tables);
/// The 256 bytes, with their values as ids, and no merges.
std::string byte_tokenizer_json();

}  // namespace clearhead
