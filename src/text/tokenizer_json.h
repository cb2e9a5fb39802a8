// Writes tokenizer.json, field by field as the `tokenizers` package does.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace clearhead {

/// The contents of a vocabulary. Tokens by id; the first `special` of them are matched in a text as they are spelled.
struct VocabularyTables {
  std::vector<std::string> tokens{};
  std::vector<std::pair<int32_t, int32_t>> merges{};  // by rank; BPE only
  int64_t special = 0;
};

/// Byte-level BPE. `splits_words`: split words by GPT-2's pattern; otherwise the whole text is one word. `end`: a
/// special token that the tokenizer appends to every text; empty: none.
std::string bpe_tokenizer_json(const VocabularyTables& tables, bool splits_words, const std::string& end = {});
/// BERT's WordPiece in lower case. Its template surrounds a text if [CLS] and [SEP] are special tokens.
std::string wordpiece_tokenizer_json(const VocabularyTables& tables);
/// The 256 bytes, with their values as ids, and no merges.
std::string byte_tokenizer_json();

}  // namespace clearhead
