// Copies the pages of a KV cache to rows, for callers that read many keys: trace files, and bf16 attention of a prompt.
#pragma once

#include <optional>

#include "clearhead/look.h"
#include "clearhead/record.h"

namespace clearhead {

/// Returns the keys in `range` as [batch, key_head, key, d_k], of one key head or of all, in the dtype of the pages.
/// Released keys are zeros.
Tensor key_rows(const PagedKV& paged, Range range, std::optional<int64_t> key_head = std::nullopt);
/// Returns the values in `range` as [batch, key_head, key, d_v]. Throws kInvalidArgument if the pages hold keys only.
Tensor value_rows(const PagedKV& paged, Range range);

}  // namespace clearhead
