// Batches as models read them: sequences of one length, padded at their ends.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/parts.h"
#include "clearhead/tensor.h"

namespace clearhead {

struct Rows {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{};       // [batch·length]
  std::vector<int32_t> lengths{};   // [batch], or empty: all sequences have full length
  std::vector<int32_t> type_ids{};  // [batch·length], or empty: zeros
  // In place of ids. Pictures: [batch, channels, height, width], and length 1; frames: [batch·length, width].
  Tensor features{};
  // Sequences that belong together, one after another: the sentences of a document. groups.batch documents of groups.length sentences, of which groups.lengths
  // are no padding; batch is groups.rows() then. Length 0: every sequence stands alone.
  Layout groups{.batch = 0};

  Layout layout() const { return {batch, length, lengths}; }
};

}  // namespace clearhead
