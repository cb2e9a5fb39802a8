// A vocabulary learned from texts, as the `tokenizers` package's trainers learn it: the same tokens, the same merges in the same order.
//
// Texts become words with counts, cut as the tokenizer will cut them; a word starts as its characters (or bytes). Again and again the pair of
// neighbours that stands most often in all words becomes a token, until the vocabulary is full; of pairs as frequent the one with the lower
// ids is taken. WordPiece learns the same way, over characters that are "##x" inside a word, and keeps the tokens without the merges.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

enum class VocabularyKind { kByteBpe, kWordPiece };

struct VocabularyOptions {
  VocabularyKind kind = VocabularyKind::kByteBpe;
  int64_t size = 4096;                 ///< tokens in all: special ones, the alphabet, and what is learned
  int64_t minimum_count = 2;           ///< a pair that stands less often is left alone
  std::vector<std::string> special{};  ///< ids from 0 on; WordPiece needs [UNK] among them
  std::string end{};                   ///< BPE: the special token that the tokenizer puts behind every text; empty: none
  int64_t alphabet = 1000;  ///< WordPiece: the most frequent characters, no more than these; the bytes of BPE are always all there
};

struct TrainedVocabulary {
  std::string tokenizer_json{};
  int64_t tokens = 0;
  int64_t words = 0, different_words = 0;  ///< in the texts
};

/// [PAD] [UNK] [CLS] [SEP] [MASK], as BERT has them.
std::vector<std::string> bert_special_tokens();

/// Deterministic for any number of threads. Texts are read once, in pieces; memory goes to the table of words. Invalid UTF-8 is read as U+FFFD.
/// Throws kInvalidArgument for a size without room for the alphabet, special tokens that are empty or twice there, texts without a word.
/// `progress` is told the share that is done, from the calling thread.
TrainedVocabulary train_vocabulary(const std::vector<std::string_view>& texts, const VocabularyOptions& options,
                                   const std::function<void(double)>& progress = {});

}  // namespace clearhead
