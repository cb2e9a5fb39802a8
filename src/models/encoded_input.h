// An input in the form that a network reads, by itself and in a batch.
//
//   a row of a data file, or a user's input → ModelInput → EncodedInput → Batch
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tensor.h"

namespace clearhead {

/// One side of an input: sequences of token ids, or features.
struct EncodedSide {
  std::vector<std::vector<int32_t>> sequences{};
  bool is_group = false;  // the sequences belong together, for example the sentences of a document
  // A picture [channels, height, width], [frames, width], or a series and its features [channels, 1, samples + features] (input_series.h).
  Tensor features{};
  std::shared_ptr<const NodeGraph> graph{};  // the graph whose nodes the sequences are
  int64_t truncated = 0;                     // number of sequences that were truncated to the network's maximum length
  int64_t left_out = 0;       // number of sequences, the oldest ones, that were dropped because the memory has no slot for them
  int64_t positions() const;  // number of positions in a batch: tokens, frames, or 1 for a picture or a series
};

/// The input of a network, and its source if it reads one.
struct EncodedInput {
  EncodedSide input{};
  std::optional<EncodedSide> source{};
};

/// Batches sides of the same kind, padded at their ends with `pad`, or with zeros for features. Throws kUnsupported for nodes of
/// different graphs.
Batch collate_side(const std::vector<const EncodedSide*>& sides, int32_t pad);

/// A batch of inputs of the same kind, and of their sources if they have any.
struct EncodedBatch {
  Batch input{};
  std::optional<Batch> source{};
  const Batch* source_or_null() const { return source ? &*source : nullptr; }
};
EncodedBatch collate(const std::vector<const EncodedInput*>& inputs, int32_t pad);

}  // namespace clearhead
