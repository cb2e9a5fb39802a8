// p = softmax(x) for each row; backward:  d_x = p ⊙ (d_p − Σ_c p_c·d_p_c).
#include <algorithm>
#include <cmath>

#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {

void softmax(Run& run, const Tensor& x, Tensor& out) {
  if (x.rank() < 1 || x.shape() != out.shape() || !x.is_contiguous() || !out.is_contiguous() || x.size(-1) < 1) {
    fail(ErrorCode::kShape, "softmax: x is {}, out {}; expected contiguous tensors of the same shape whose last axis is not empty",
         to_string(x.shape()), to_string(out.shape()));
  }
  const int64_t width = x.size(-1), rows = x.numel() / width;
  backend().dense.softmax({x.data<float>(), out.mutable_data<float>(), rows, width});
  if (!run.records({&x})) return;
  run.recorder->record("softmax", out, {out}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Gradients::Place to = gradients.place(x);
    backend().gradients.softmax({out.data<float>(), d_out.data<float>(), to.gradient.mutable_data<float>(), rows, width, to.accumulate});
  });
}

std::vector<double> softmax_of(const float* x, int64_t count) {
  const auto largest = static_cast<double>(*std::max_element(x, x + count));
  std::vector<double> out;
  double sum = 0;
  for (int64_t c = 0; c < count; ++c) sum += out.emplace_back(std::exp(static_cast<double>(x[c]) - largest));
  for (double& p : out) p /= sum;
  return out;
}

}  // namespace clearhead::ops
