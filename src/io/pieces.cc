// A contiguous tensor is one piece. Others are copied in pieces, as many outermost rows at a time as fit in a buffer.
#include "io/pieces.h"

#include <algorithm>

namespace clearhead::io {

void for_each_piece(const Tensor& tensor, const std::function<void(const std::byte*, size_t)>& put) {
  if (tensor.numel() == 0) return;
  if (tensor.is_contiguous() || tensor.bytes() <= kLargestPiece) {
    const Tensor whole = tensor.contiguous();
    put(whole.raw(), whole.bytes());
    return;
  }
  // As many outermost rows as fit are one piece. A row that is too large for a piece is split recursively.
  const int64_t rows = tensor.size(0);
  const size_t row_bytes = tensor.bytes() / static_cast<size_t>(rows);
  if (row_bytes > kLargestPiece) {
    for (int64_t row = 0; row < rows; ++row) for_each_piece(tensor.select(0, row), put);
    return;
  }
  const int64_t step = static_cast<int64_t>(kLargestPiece / row_bytes);
  for (int64_t row = 0; row < rows; row += step) for_each_piece(tensor.slice(0, row, std::min(rows, row + step)), put);
}

}  // namespace clearhead::io
