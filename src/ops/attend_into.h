// What attend() is made of, for other calls of this room: the fused call with an output where a layer wants it, e.g. in [batch, query, head, d_v], and a check of caches.
#pragma once

#include "clearhead/attend.h"

namespace clearhead {

/// As attend(), into out: [batch, head, query, d_v], in q's dtype, any strides, no element shared by two indices. v is undefined when keys are pages.
AttentionRecord attend_into(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec, Tensor& out);

/// Throws kInvalidArgument where the description's band shows a key that the cache let go: its page is not there. `what` is the call that asks.
void check_kept(const char* what, const PagedKV& keys, const AttentionSpec& spec, const AttentionShape& shape);

}  // namespace clearhead
