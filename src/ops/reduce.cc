// Reductions over one axis: sum, mean and maximum.
//
//   sum, mean:  out is broadcast over the axis and x is added to it (strided.cc);   d_x += scale·d_out, broadcast likewise
//   max:        out[i] = x[chosen[i]], and the gradient goes to the chosen element
#include <cmath>

#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "ops/choice.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

void largest(Run& run, const Tensor& x, int64_t outer, int64_t size, Tensor& out) {
  if (!x.is_contiguous())
    fail(ErrorCode::kShape, "reduce: the maximum of a strided {}; expected a contiguous tensor", to_string(x.shape()));
  const int64_t inner = x.numel() / std::max<int64_t>(1, outer * size);
  const float* from = x.data<float>();
  float* to = out.mutable_data<float>();
  auto chosen = std::make_shared<std::vector<int32_t>>(static_cast<size_t>(out.numel()));
  parallel_ranges(outer * inner, grain_of(size), [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at) {
      const float* column = from + at / inner * size * inner + at % inner;
      int64_t best = 0;
      for (int64_t i = 1; i < size; ++i) best = is_better(column[i * inner], column[best * inner]) ? i : best;
      to[at] = column[best * inner];
      (*chosen)[static_cast<size_t>(at)] = static_cast<int32_t>(best * inner + at % inner);
    }
  });
  record_choice(run, "max", x, out, chosen, outer);
}

}  // namespace

void reduce(Run& run, Reduction reduction, const Tensor& x, int axis, Tensor& out) {
  const int64_t size = x.size(axis);
  const auto at = static_cast<std::ptrdiff_t>(axis < 0 ? axis + x.rank() : axis);
  Shape without = x.shape(), kept = x.shape();
  without.erase(without.begin() + at);
  kept[static_cast<size_t>(at)] = 1;
  if (size == 0 || out.shape() != without || !out.is_contiguous()) {
    fail(ErrorCode::kShape, "reduce: axis {} of {} into {}; expected a non-empty axis, and a contiguous out of shape {}", axis,
         to_string(x.shape()), to_string(out.shape()), to_string(without));
  }
  if (reduction == Reduction::kMax) {
    int64_t outer = 1;
    for (std::ptrdiff_t before = 0; before < at; ++before) outer *= x.size(static_cast<int>(before));
    return largest(run, x, outer, size, out);
  }
  const float scale = reduction == Reduction::kMean ? 1.0F / static_cast<float>(size) : 1;
  const auto broadcast = [kept](const Tensor& t, const Shape& shape) { return t.reshape(kept).expand(shape); };
  Tensor sums = broadcast(out, x.shape());
  add_strided(x, sums, false, {}, scale);
  if (!run.records({&x})) return;
  run.recorder->record("reduce", out, {}, [=](Gradients& gradients) {
    Gradients::Place to = gradients.place(x);
    add_strided(broadcast(gradients.of(out), x.shape()), to.gradient, to.accumulate, {}, scale);
  });
}

}  // namespace clearhead::ops
