// Trains a vocabulary on texts, with the same tokens and the same merges in the same order as the `tokenizers`
// package's trainers.
//
// Texts become words with counts, split as the tokenizer will split them. A word starts as its characters (or bytes).
// The most frequent pair of neighbours over all words becomes a token, repeatedly, until the vocabulary is full; ties
// go to the pair with the lower ids. WordPiece trains the same way, over characters that are "##x" inside a word, and
// keeps the tokens without the merges.
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
  int64_t size = 4096;                 ///< number of all tokens: special ones, the alphabet, and trained ones
  int64_t minimum_count = 2;           ///< less frequent pairs are not merged
  std::vector<std::string> special{};  ///< ids from 0 on; WordPiece needs [UNK] among them
  std::string end{};                   ///< BPE: the special token that the tokenizer appends to every text; empty: none
  /// BPE: the tokenizer lower-cases texts and adds a leading space, so that a word has the same tokens at any position.
  /// WordPiece always lower-cases.
  bool lowercase = false;
  /// WordPiece: at most this many characters, the most frequent ones. BPE always has all bytes.
  int64_t alphabet = 1000;
};

struct TrainedVocabulary {
  std::string tokenizer_json{};
  int64_t tokens = 0;
  int64_t words = 0, different_words = 0;  ///< in the texts
};

/// [PAD] [UNK] [CLS] [SEP] [MASK], in BERT's order.
std::vector<std::string> bert_special_tokens();

/// Deterministic for any number of threads. Texts are read once, in pieces; most memory is the table of words. Invalid
/// UTF-8 is read as U+FFFD. `progress` gets the fraction done, on the calling thread.
/// Throws kInvalidArgument if the size has no room for the alphabet, for special tokens that are empty or repeated, and
/// for texts without a word.
TrainedVocabulary train_vocabulary(const std::vector<std::string_view>& texts, const VocabularyOptions& options,
                                   const std::function<void(double)>& progress = {});

}  // namespace clearhead
