// Elementwise product, concatenation and index_add. Splitting a tensor is a view and needs no op.
#include <algorithm>
#include <cstring>

#include "backends/registry.h"
#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace clearhead::ops {

void multiply(Run& run, const Tensor& a, const Tensor& b, Tensor& out) {
  if (a.shape() != out.shape() || b.shape() != out.shape() || !out.is_contiguous()) {
    fail(ErrorCode::kShape, "multiply: {} by {} into {}; expected the same shape for all (Tensor::expand broadcasts a row or a column)",
         to_string(a.shape()), to_string(b.shape()), to_string(out.shape()));
  }
  add_strided(a, out, false, b);
  if (!run.records({&a, &b})) return;
  run.recorder->record("multiply", out, {a, b}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    const auto send = [&](const Tensor& to, const Tensor& other) {
      if (!gradients.wants(to)) return;
      Gradients::Place place = gradients.place(to);
      add_strided(d_out, place.gradient, place.accumulate, other);
    };
    send(a, b);
    send(b, a);
  });
}

void concat(Run& run, const std::vector<Tensor>& parts, int axis, Tensor& out) {
  int64_t at = 0;
  for (const Tensor& part : parts) {
    const int64_t end = at + (part.rank() == out.rank() ? part.size(axis) : 0);
    Shape expected = out.shape();
    if (part.rank() == out.rank()) expected[static_cast<size_t>(axis < 0 ? axis + out.rank() : axis)] = part.size(axis);
    if (part.shape() != expected || end > out.size(axis)) {
      fail(ErrorCode::kShape, "concat: a part of shape {} at offset {} of axis {} does not fit out {}", to_string(part.shape()), at, axis,
           to_string(out.shape()));
    }
    Tensor place = out.slice(axis, at, end);
    copy(run, part, place);
    at = end;
  }
  if (at != out.size(axis))
    fail(ErrorCode::kShape, "concat: the parts add up to {} on axis {}, but out is {}", at, axis, to_string(out.shape()));
}

void index_add(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out) {
  if (x.rank() != 2 || out.rank() != 2 || x.size(1) != out.size(1) || static_cast<int64_t>(rows.size()) != x.size(0) ||
      !x.is_contiguous() || !out.is_contiguous()) {
    fail(ErrorCode::kShape,
         "index_add: {} row indices, x is {}, out {}; expected one index per row, and contiguous [rows, width] and [entries, width]",
         rows.size(), to_string(x.shape()), to_string(out.shape()));
  }
  for (const int32_t row : rows) {
    if (row < 0 || row >= out.size(0)) fail(ErrorCode::kInvalidArgument, "index_add: row {}; expected a row in [0, {})", row, out.size(0));
  }
  const int64_t count = x.size(0), width = x.size(1);
  if (out.numel() > 0) std::memset(out.mutable_raw(), 0, out.bytes());
  if (x.numel() > 0) backend().gradients.embedding({rows.data(), x.data<float>(), 1, out.mutable_data<float>(), count, width});
  if (!run.records({&x})) return;
  run.recorder->record("index_add", out, {}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Gradients::Place to = gradients.place(x);
    if (x.numel() == 0) return;
    const float* from = d_out.data<float>();
    float* d_x = to.gradient.mutable_data<float>();
    parallel_ranges(count, grain_of(width), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const float* d = from + rows[static_cast<size_t>(row)] * width;
        for (int64_t c = 0; c < width; ++c) d_x[row * width + c] = (to.accumulate ? d_x[row * width + c] : 0) + d[c];
      }
    });
  });
}

}  // namespace clearhead::ops
