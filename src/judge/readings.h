// A text as a model is to read it under a change: its tokens, which tokens of the unchanged text they are, and where positions and padding begin.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tokenizer.h"
#include "judge/robustness.h"
#include "text/noise.h"

namespace clearhead::judge {

struct Reading {
  Encoding encoding{};
  std::vector<int64_t> origin{};  // [token] of the unchanged text, or −1
  std::vector<uint8_t> same{};    // [token] 1 where the origin has the same id
  int64_t shift = 0;              // of positions
  int64_t before = 0, after = 0;  // padding
  int64_t size() const { return before + static_cast<int64_t>(encoding.size()) + after; }
};

enum class Change { kNone, kTypos, kUpper, kLower, kTruncation, kBefore, kAfter, kDropout, kShift, kPaddingAfter, kPaddingBefore };
struct NamedChange {
  Change change{};
  std::string name{}, says{};
  bool moves = true;  // false: must change nothing
};
/// Those that a model of this kind can have.
std::vector<NamedChange> changes_for(Answering kind, const RobustOptions& options);

/// One text under a change. A reading beyond the model's positions loses tokens at its end. It has no tokens where positions leave no room for the whole change.
Reading reading_of(const Model& model, Answering kind, const std::string& text, Change change, const RobustOptions& options, uint64_t seed);

/// Indices of readings that run together, those of like size; none without tokens.
std::vector<std::vector<size_t>> batches_of(const std::vector<Reading>& readings, int64_t most_tokens);
/// The chosen readings with their positions and padding.
TokenBatch batch_of(const Model& model, const std::vector<Reading>& readings, const std::vector<size_t>& which);

}  // namespace clearhead::judge
