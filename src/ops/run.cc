// The arena: a stack of blocks of at least 1 MiB. Allocations are whole cache lines, and the end of a scope resets the position.
#include "ops/run.h"

#include <algorithm>

namespace clearhead {
namespace {

constexpr int64_t kSmallestBlock = int64_t{1} << 18;  // elements: 1 MiB
constexpr int64_t kAlignment = 16;                    // elements: a cache line

}  // namespace

Tensor Arena::take(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  const int64_t padded = std::max<int64_t>(kAlignment, (count + kAlignment - 1) / kAlignment * kAlignment);
  while (block_ < blocks_.size() && used_ + padded > blocks_[block_].numel()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) blocks_.push_back(Tensor::empty({std::max(padded, kSmallestBlock)}));
  const int64_t begin = used_;
  used_ += padded;
  return blocks_[block_].slice(0, begin, begin + count).reshape(shape);
}

int64_t Arena::bytes() const {
  auto total = static_cast<int64_t>(low_precision_.most_bytes());
  for (const Tensor& block : blocks_) total += static_cast<int64_t>(block.bytes());
  return total;
}

void Arena::trim(int64_t keep_bytes) {
  if (bytes() <= keep_bytes) return;
  low_precision_ = TensorPool();
  blocks_.clear();
  block_ = 0;
  used_ = 0;
}

}  // namespace clearhead
