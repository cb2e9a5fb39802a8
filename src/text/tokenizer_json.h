// The bytes of a tokenizer.json, field by field as the `tokenizers` package writes them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace clearhead {

/// What a vocabulary is made of. Tokens by id; the first `special` of them are found in a text as they are spelled.
struct VocabularyTables {
  std::vector<std::string> tokens{};
  std::vector<std::pair<int32_t, int32_t>> merges{};  // by rank; of BPE alone
  int64_t special = 0;
};

/// Byte-level BPE. `splits_words`: GPT-2's pattern cuts words first; without it the whole text is one word. `end`: a special token that stands behind every
/// text; empty: none.
std::string bpe_tokenizer_json(const VocabularyTables& tables, bool splits_words, const std::string& end = {});
/// BERT's WordPiece in lower case; its template stands around a text if [CLS] and [SEP] are special tokens.
std::string wordpiece_tokenizer_json(const VocabularyTables& tables);
/// The 256 bytes, ids as their values, and no merge.
std::string byte_tokenizer_json();

}  // namespace clearhead
