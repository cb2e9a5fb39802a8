// A text under a change, as the model reads it: its tokens, the tokens of the unchanged text that they correspond to, position shift and
// padding.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tokenizer.h"
#include "explain/evaluate/robustness.h"
#include "text/noise.h"

namespace clearhead::explain {

struct Reading {
  Encoding encoding{};
  std::vector<int64_t> origin{};  // [token] the corresponding token of the unchanged text, or −1
  std::vector<uint8_t> same{};    // [token] 1 if the origin has the same id
  int64_t shift = 0;              // offset of the positions
  int64_t before = 0, after = 0;  // number of padding tokens before and after the text
  int64_t size() const { return before + static_cast<int64_t>(encoding.size()) + after; }
};

enum class Change { kNone, kTypos, kUpper, kLower, kTruncation, kBefore, kAfter, kDropout, kShift, kPaddingAfter, kPaddingBefore };
struct NamedChange {
  Change change{};
  std::string name{}, description{};
  bool moves = true;  // false: answers and maps must stay the same
};
/// The changes that apply to models with this kind of answers.
std::vector<NamedChange> changes_for(const RobustKind& kind, const RobustOptions& options);

/// The reading of one text under a change. If it is longer than the model's positions, tokens at its end are dropped. It has no tokens if
/// the change leaves no words, or if the positions leave no room for the whole change.
Reading reading_of(const Model& model, const RobustKind& kind, const std::string& text, Change change, const RobustOptions& options,
                   uint64_t seed);

/// Batches of readings of similar size, as indices; each has at most most_tokens tokens, or is a single longer reading. Readings without
/// tokens are left out.
std::vector<std::vector<size_t>> batches_of(const std::vector<Reading>& readings, int64_t most_tokens);
/// The chosen readings as a batch with positions and padding.
Batch batch_of(const Model& model, const std::vector<Reading>& readings, const std::vector<size_t>& which);

}  // namespace clearhead::explain
