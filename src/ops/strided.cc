// Sums and copies of tensors in any strides: how gradients of views meet.

#include <vector>

#include "base/format.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace clearhead::ops {

void add_strided(const Tensor& x, Tensor& out, bool accumulate) {
  if (x.shape() != out.shape()) fail(ErrorCode::kShape, "add: x is {}, out {}", to_string(x.shape()), to_string(out.shape()));
  if (x.numel() == 0) return;
  const float* from = x.data<float>();
  float* to = out.mutable_data<float>();
  const bool flat = x.is_contiguous() && out.is_contiguous();
  const int rank = x.rank();
  const int64_t width = flat ? x.numel() : x.size(-1), rows = flat ? 1 : x.numel() / width;
  const int64_t from_step = flat ? 1 : x.stride(-1), to_step = flat ? 1 : out.stride(-1);
  const auto add_row = [&](const float* a, float* b, int64_t begin, int64_t end) {
    if (from_step == 1 && to_step == 1) {
      if (accumulate) {
        for (int64_t c = begin; c < end; ++c) b[c] += a[c];
      } else {
        std::copy(a + begin, a + end, b + begin);
      }
      return;
    }
    for (int64_t c = begin; c < end; ++c) b[c * to_step] = (accumulate ? b[c * to_step] : 0) + a[c * from_step];
  };
  constexpr int64_t kGrain = 16384;
  if (flat) return parallel_ranges(width, kGrain, [&](int64_t begin, int64_t end, int) { add_row(from, to, begin, end); });
  parallel_ranges(rows, std::max<int64_t>(1, kGrain / width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t left = row, a = 0, b = 0;
      for (int axis = rank - 2; axis >= 0; --axis) {
        const int64_t at = left % x.size(axis);
        left /= x.size(axis);
        a += at * x.stride(axis);
        b += at * out.stride(axis);
      }
      add_row(from + a, to + b, 0, width);
    }
  });
}

}  // namespace clearhead::ops
