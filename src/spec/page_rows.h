// The pages of a cache as rows, for what reads many of them: a trace that is written, a prompt in bf16.
#pragma once

#include <optional>

#include "clearhead/look.h"
#include "clearhead/record.h"

namespace clearhead {

/// Keys of `range` as [batch, key_head, key, d_k], in the pages' dtype, of one key head or of all. Keys that were let go are zeros.
Tensor key_rows(const PagedKV& paged, Range range, std::optional<int64_t> key_head = std::nullopt);
/// Their values, [batch, key_head, key, d_v]. Throws kInvalidArgument where the pages keep none.
Tensor value_rows(const PagedKV& paged, Range range);

}  // namespace clearhead
