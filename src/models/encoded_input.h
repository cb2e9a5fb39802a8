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

/// An encoded input, or an encoded source: sequences of token ids, or features.
struct EncodedSide {
  std::vector<std::vector<int32_t>> sequences{};
  bool is_group = false;  // the sequences belong together, for example the sentences of a document
  // A picture [channels, height, width], the frames of a sound [frames, width], or a series and its features
  // [channels, 1, samples + features] (input_series.h).
  Tensor features{};
  std::shared_ptr<const NodeGraph> graph{};  // the graph that the node indices in `sequences` refer to
  int64_t truncated = 0;                     // number of sequences that were truncated to the network's maximum length
  int64_t left_out = 0;                      // number of oldest statements that were dropped because the memory network has fewer slots
  int64_t positions() const;                 // number of positions in a batch: tokens, frames, or 1 for a picture or a series
};

/// An encoded example: the input of a network and, if the kind of input has one, the source that it attends to (inputs/*.cc).
struct EncodedInput {
  EncodedSide input{};
  std::optional<EncodedSide> source{};
};

/// Batches inputs, or sources, of the same kind. Token sequences are padded at the end with `pad`, frames with zeros. Throws
/// kUnsupported for nodes of different graphs.
Batch collate_side(const std::vector<const EncodedSide*>& sides, int32_t pad);

/// A batch of inputs of the same kind, and of their sources if they have any.
struct EncodedBatch {
  Batch input{};
  std::optional<Batch> source{};
  const Batch* source_or_null() const { return source ? &*source : nullptr; }
};
EncodedBatch collate(const std::vector<const EncodedInput*>& inputs, int32_t pad);

}  // namespace clearhead
