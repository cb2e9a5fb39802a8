// A batch in the form that models read: sequences of equal length, padded at their ends.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/nn.h"
#include "clearhead/tensor.h"

namespace clearhead {

struct Batch {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{};       // [batch·length]
  std::vector<int32_t> lengths{};   // [batch], or empty: all sequences have full length
  std::vector<int32_t> type_ids{};  // [batch·length], or empty: zeros
  // Used instead of ids. Pictures: [batch, channels, height, width], with length 1. Frames: [batch·length, width].
  Tensor features{};
  // Groups of consecutive sequences, such as the sentences of documents: groups.batch documents of groups.length sentences each,
  // of which groups.lengths are not padding; batch is then groups.rows(). groups.length 0: no groups.
  Layout groups{.batch = 0};

  Layout layout() const { return {batch, length, lengths}; }
};

}  // namespace clearhead
