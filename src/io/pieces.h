// The bytes of a tensor in row-major order, in pieces, for any strides. Internal to src/io.
#pragma once

#include <functional>

#include "clearhead/tensor.h"

namespace clearhead::io {

inline constexpr size_t kLargestPiece = size_t{16} << 20;

/// Calls put(bytes, size) for consecutive pieces. A contiguous tensor is one piece and not copied; a strided one is
/// copied, at most kLargestPiece bytes at a time.
void for_each_piece(const Tensor& tensor, const std::function<void(const std::byte*, size_t)>& put);

}  // namespace clearhead::io
