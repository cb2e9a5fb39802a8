// Builds a BlockSparse from the key blocks that each query block sees.
#pragma once

#include <cstdint>
#include <vector>

#include "clearhead/spec.h"

namespace clearhead {

/// lists[(batch·heads + head)·query blocks + query block]: ascending key blocks. The tensors are padded to the head
/// with the most entries. Throws kUnsupported if a head has 2^31 entries or more.
BlockSparse gathered(const std::vector<std::vector<int32_t>>& lists, int64_t batch, int64_t heads, int64_t query_block, int64_t key_block);

}  // namespace clearhead
