// The model step of encoding: splits a word into tokens of the vocabulary.
//
// A model is immutable. Its working memory, and a cache of words already seen in this text, are in
// the caller's Scratch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/vocabulary.h"

namespace clearhead::text {

/// A token and the bytes of the word that it covers.
struct Piece {
  int32_t id = 0;
  uint32_t begin = 0, end = 0;
};

/// Working memory of one encode call.
struct Scratch {
  struct Symbol {
    int32_t id;              // −1: merged into its left neighbour
    uint32_t begin, end;     // bytes of the word
    int32_t previous, next;  // −1 at the ends
    uint32_t rank;           // of merging this symbol with the next; kNoMerge: they do not merge
    int32_t merged;          // id of the merged token
  };
  struct Candidate {
    uint32_t rank, position;
    int32_t left, right;  // ids when this was queued
  };
  struct Known {
    const char* word = nullptr;
    uint32_t length = 0, first = 0, count = 0;
  };
  static constexpr size_t kKnownWords = 8192;

  explicit Scratch(size_t text_size) {
    if (text_size > 4096) known.resize(kKnownWords);  // for shorter texts the cache costs more than it saves
  }
  std::vector<Symbol> symbols;
  std::vector<Candidate> queue;
  std::vector<Known> known;   // direct-mapped by the hash of the word
  std::vector<Piece> memory;  // pieces of known words
  std::vector<Piece> pieces;  // the result
  std::string buffer;
};

class Model {
 public:
  virtual ~Model() = default;
  /// Writes the tokens of `word` (not empty) to scratch.pieces. `word` must stay valid while the scratch is
  /// used with this text.
  virtual void tokenize(std::string_view word, Scratch& scratch) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }
  std::string unknown{};  // spelling of the unknown token, if any

 protected:
  Vocabulary vocabulary_;
};

/// Reads {"token": id, …}. For error messages `where` names the source and `path` the field.
void read_vocabulary(const Json& json, std::string_view where, std::string_view path, Vocabulary& vocabulary);

struct WordPieceOptions {
  std::string unknown = "[UNK]", prefix = "##";
  int64_t maximum_characters = 100;
};
std::unique_ptr<Model> make_wordpiece(Vocabulary vocabulary, WordPieceOptions options);

struct BpeOptions {
  std::string unknown, prefix, suffix;
  bool has_unknown = false, fuses_unknown = false, falls_back_to_bytes = false, ignores_merges = false;
  /// The model receives raw bytes and its tokens are spelled in the byte alphabet, so encoding need
  /// not spell the bytes.
  bool is_raw = false;
};
struct Merge {
  std::string_view left, right;
};
/// Throws kFormat, naming `where`, if a merge uses a token that is not in the vocabulary.
std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options, std::string_view where);

/// Reads the model of tokenizer.json. `may_be_raw`: the last step of the pre-tokenizer spells bytes in the byte alphabet. Sets
/// `is_raw` if the model reads raw bytes instead, so that this step must be left out.
std::unique_ptr<Model> read_model(const Json& json, std::string_view where, bool may_be_raw, bool* is_raw);
/// Parses merges.txt to pairs that point into `merges_txt`.
std::vector<Merge> read_merges(std::string_view merges_txt, std::string_view where);

}  // namespace clearhead::text
