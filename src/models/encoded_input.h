// An input as a network reads it, before and in a batch.
//
//   file row, or what a person gives → ModelInput → EncodedInput → Rows
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tensor.h"
#include "models/rows.h"

namespace clearhead {

/// One side of an input: sequences of token ids, or features.
struct EncodedSide {
  std::vector<std::vector<int32_t>> sequences{};
  bool is_group = false;      // the sequences belong together: the sentences of a document
  Tensor features{};          // [channels, height, width] of a picture, or [frames, width]
  int64_t truncated = 0;      // number of sequences that lost their end: they have more tokens than the network reads of one
  int64_t left_out = 0;       // number of oldest sequences for which a memory has no slot
  int64_t positions() const;  // positions that it occupies in a batch: tokens, frames, or 1 for a picture
};

/// What a network reads, and the source that it reads beside it, if it has one.
struct EncodedInput {
  EncodedSide input{};
  std::optional<EncodedSide> source{};
};

/// A batch of sides of one kind, padded at their ends with `pad`, or with zeros for features.
Rows rows_of(const std::vector<const EncodedSide*>& sides, int32_t pad);
/// Runs a loaded model over a batch as training makes it.   options: masked rows; for networks an observer, which gets no plan
RunResult run_rows(const Model& model, const Rows& input, const Rows* source, const RunOptions& options = {});

}  // namespace clearhead
