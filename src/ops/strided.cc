// Sums, copies and products of tensors with any strides. Gradients of views are accumulated with them.
//
// A tensor that is broadcast along an axis has stride 0 there. Reading it costs nothing. Writing to it stores the sum over that
// axis, added in ascending order in double. So the gradient of a row that was added to all rows needs no code of its own, and a
// sum over an axis is a copy into a tensor that is broadcast along it.
#include <vector>

#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

struct Axis {
  int64_t size, x, factor, out;  // strides of the three tensors along the axis
};

struct Pointers {
  const float* x;
  const float* factor;  // null: ones
  float* out;
};

// The pointers to the element with row-major index `at` of these axes.
Pointers moved(Pointers p, const std::vector<Axis>& axes, int64_t at) {
  for (size_t axis = axes.size(); axis-- > 0;) {
    const int64_t index = at % axes[axis].size;
    at /= axes[axis].size;
    p.x += index * axes[axis].x;
    p.out += index * axes[axis].out;
    if (p.factor) p.factor += index * axes[axis].factor;
  }
  return p;
}

int64_t count_of(const std::vector<Axis>& axes) {
  int64_t count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  return count;
}

// out[c] (+)= scale·x[c]·factor[c] for `count` elements along an axis.
void put_row(const Pointers& p, const Axis& step, int64_t count, float scale, bool accumulate) {
  if (step.x == 1 && step.out == 1 && !p.factor && scale == 1) {
    if (!accumulate) return void(std::copy(p.x, p.x + count, p.out));
    for (int64_t c = 0; c < count; ++c) p.out[c] += p.x[c];
    return;
  }
  if (step.x == 1 && step.out == 1 && step.factor == 1 && p.factor && scale == 1) {
    for (int64_t c = 0; c < count; ++c) p.out[c] = (accumulate ? p.out[c] : 0) + p.x[c] * p.factor[c];
    return;
  }
  for (int64_t c = 0; c < count; ++c) {
    const float value = scale * p.x[c * step.x] * (p.factor ? p.factor[c * step.factor] : 1);
    p.out[c * step.out] = (accumulate ? p.out[c * step.out] : 0) + value;
  }
}

// Sums over the axes `summed`, along which out has stride 0; `kept` are the other axes.
void sum_strided(const Pointers& p, std::vector<Axis> kept, std::vector<Axis> summed, float scale, bool accumulate) {
  const Axis columns = kept.empty() ? Axis{1, 0, 0, 0} : kept.back(), last = summed.back();
  if (!kept.empty()) kept.pop_back();
  summed.pop_back();
  // Sums that are accumulated side by side: one vector register's worth if columns are strided, else up to kMost.
  constexpr int64_t kMost = 256;
  const int64_t side = columns.x == 1 ? kMost : 8, blocks = (columns.size + side - 1) / side, outer = count_of(summed);
  const int64_t each = side * outer * last.size;
  parallel_ranges(count_of(kept) * blocks, grain_of(each), [&](int64_t begin, int64_t end, int) {
    double sums[kMost];
    for (int64_t at = begin; at < end; ++at) {
      const int64_t first = at % blocks * side, count = std::min(side, columns.size - first);
      const Pointers row = moved(moved(p, kept, at / blocks), {columns}, first);
      std::fill_n(sums, count, 0.0);
      for (int64_t o = 0; o < outer; ++o) {
        Pointers from = moved(row, summed, o);
        for (int64_t i = 0; i < last.size; ++i) {
          for (int64_t c = 0; c < count; ++c) {
            const double value = static_cast<double>(from.x[c * columns.x]);
            sums[c] += from.factor ? value * static_cast<double>(from.factor[c * columns.factor]) : value;
          }
          from.x += last.x;
          if (from.factor) from.factor += last.factor;
        }
      }
      for (int64_t c = 0; c < count; ++c) {
        float& to = row.out[c * columns.out];
        to = static_cast<float>(static_cast<double>(scale) * sums[c] + (accumulate ? static_cast<double>(to) : 0));
      }
    }
  });
}

}  // namespace

void add_strided(const Tensor& x, Tensor& out, bool accumulate, const Tensor& factor, float scale) {
  if (x.shape() != out.shape() || (factor.defined() && factor.shape() != out.shape())) {
    fail(ErrorCode::kShape, "add: x is {}, its factor {}, out {}; expected the same shape for all", to_string(x.shape()),
         to_string(factor.shape()), to_string(out.shape()));
  }
  if (x.numel() == 0) return;
  const Pointers p{x.data<float>(), factor.defined() ? factor.data<float>() : nullptr, out.mutable_data<float>()};
  if (x.is_contiguous() && out.is_contiguous() && (!p.factor || factor.is_contiguous())) {
    return parallel_ranges(x.numel(), kGrain, [&](int64_t begin, int64_t end, int) {
      put_row({p.x + begin, p.factor ? p.factor + begin : nullptr, p.out + begin}, {0, 1, 1, 1}, end - begin, scale, accumulate);
    });
  }
  std::vector<Axis> kept, summed;
  for (int axis = 0; axis < out.rank(); ++axis) {
    const bool stands_still = out.size(axis) > 1 && out.stride(axis) == 0;
    (stands_still ? summed : kept).push_back({out.size(axis), x.stride(axis), p.factor ? factor.stride(axis) : 0, out.stride(axis)});
  }
  if (!summed.empty()) return sum_strided(p, kept, summed, scale, accumulate);
  const Axis columns = kept.back();
  kept.pop_back();
  parallel_ranges(count_of(kept), grain_of(columns.size), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) put_row(moved(p, kept, row), columns, columns.size, scale, accumulate);
  });
}

}  // namespace clearhead::ops
