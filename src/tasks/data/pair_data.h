// Pairs of texts, source → target, in batches of similar size. A batch depends on the seed and its number only.
//
//   encoder input    the source's tokens, with the special tokens that the tokenizer adds
//   decoder input    the first token, then the target's tokens without the last
//   targets          the target's tokens, with the special tokens that the tokenizer adds
//
// Pairs are sorted by length and divided into batches of at most the recipe's max_tokens on either side, padding included. Each epoch
// shuffles pairs of equal length, and the batches.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "clearhead/tokenizer.h"
#include "tasks/data/epoch_order.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task.h"

namespace clearhead::tasks {

struct Recipe;
/// An alignment link: a word of the source and one of the target, counted from 0. Words are separated by whitespace.
struct WordLink {
  int32_t source = 0, target = 0;
};
struct TextPair {
  std::string source{}, target{};
  std::vector<WordLink> alignment{};  // only if requested
  int64_t dialogue = 0;               // the number of the dialogue; only for dialogues
};

/// Reads the pairs of one split, in the recipe's folder. A line of a table has source and target in its first two columns, or in those
/// that the recipe's "fields" give; other columns are ignored. From JSON lines (json_lines.h) it reads the fields of these names. Throws
/// kNotFound, naming the file and where to get it; kFormat with the line.
///
/// In dialogues, every turn after the first is a target. Its source is the turns before it, at most
/// `turns_before` of the recipe, joined (text/turns.h).
///
/// aligned: also reads the recipe's alignments in Pharaoh format, "0-0 1-2": source word, target word. Throws kFormat, with the
/// line, for another format and for a word number beyond the text.
/// A first line that names the columns is left out. headers: receives these lines.
std::vector<TextPair> read_pairs(Part part, const Recipe& recipe, bool aligned = false, std::vector<std::string>* headers = nullptr);
/// The turns of each dialogue; line breaks inside a turn are replaced by spaces. Throws as read_pairs().
std::vector<std::vector<std::string>> read_dialogues(const std::vector<std::string>& files, const Recipe& recipe);
/// The files from which the pairs of a split are read. For validation, these are the training files if the recipe has "held_out".
const std::vector<std::string>& pair_files(Part part, const Recipe& recipe);
/// The texts to train a vocabulary on: all sources and targets; for dialogues each turn once, so that the vocabulary does not
/// depend on the number of turns in a source.
std::vector<std::string> vocabulary_texts_of_pairs(const Recipe& recipe);

/// Encodes a pair's source. If the recipe has "cut", it is truncated to the recipe's `length`; is_cut: whether tokens were removed.
Encoding source_of(const TextPair& pair, const Recipe& recipe, const Tokenizer& tokenizer, bool* is_cut = nullptr);

class PairData {
 public:
  /// Leaves out pairs with more than the recipe's `length` tokens on a side.   first: the token that the decoder starts with.
  /// Training pairs have the recipe's alignments. Recipe and tokenizer must outlive the data.
  PairData(Part part, const Recipe& recipe, const Tokenizer& tokenizer, int32_t first);
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int64_t longest_target() const { return pairs_.empty() ? 0 : pairs_.back().target; }
  void add_to(Digest& digest) const;
  DataSummary summary(const char* name) const;
  /// Batch `number` of the endless sequence. Throws kInvalidArgument if no pair is left. If the recipe has noise, sources are changed
  /// in a way that depends on the seed and the number. A source that would become longer than `length` is not changed, and a batch
  /// may have slightly more tokens than max_tokens.
  Example shuffled(uint64_t seed, int64_t number) const;
  /// All pairs once.
  std::vector<Example> in_order() const;

 private:
  struct Pair {
    // Start of the pair in ids_, number of source tokens, number of target tokens; the target follows the source.
    int64_t begin = 0, source = 0, target = 0;
  };
  /// Ids of a pair's source.   noise: seed of the noise for this pair in this batch; absent: no noise
  std::vector<int32_t> source_ids(const Pair& pair, std::optional<uint64_t> noise) const;
  GoldAlignment alignment_of(const std::vector<int64_t>& pairs, int64_t begin, int64_t end) const;
  Example example_of(const std::vector<int64_t>& pairs, int64_t begin, int64_t end, std::optional<uint64_t> noise) const;
  Part part_;
  int32_t first_;
  const Recipe& recipe_;
  const Tokenizer& tokenizer_;
  std::unordered_map<int64_t, std::string> sources_{};          // texts by Pair::begin; empty without noise
  std::unordered_map<int64_t, std::vector<WordLink>> links_{};  // links of tokens by Pair::begin, sorted by target; empty if not aligned
  std::string none_{};                                          // the reason if no pair is left
  int64_t too_long_ = 0, empty_ = 0, cut_ = 0;                  // pairs left out (too long, empty); sources truncated
  std::vector<std::string> headers_{};                          // first lines that name the columns, left out
  std::vector<int32_t> ids_{};
  std::vector<Pair> pairs_{};      // sorted by length
  std::vector<int64_t> begins_{};  // starts of the batches among the sorted pairs, and the end
  mutable EpochOrder order_{};
};

}  // namespace clearhead::tasks
