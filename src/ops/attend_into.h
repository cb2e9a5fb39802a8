// Helpers of attend() that other files of src/ops share: attention into an output that the caller allocated (for example
// laid out as [batch, query, head, d_v]), and a check of KV caches.
#pragma once

#include "clearhead/attend.h"

namespace clearhead {

/// Like attend(), but writes to out: [batch, head, query, d_v], in q's dtype, any strides without overlap. v is undefined
/// if keys are pages.
AttentionRecord attend_into(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec, Tensor& out);

/// Throws kInvalidArgument if the description's band shows a key that the cache has released (KVCache::keep_last).
/// `what` names the call in the message.
void check_kept(const char* what, const PagedKV& keys, const AttentionSpec& spec, const AttentionShape& shape);

}  // namespace clearhead
