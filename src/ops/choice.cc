// The reverse of out[i] = x[chosen[i]] within each plane: d_x[chosen[i]] += d_out[i]. One thread computes a plane. Indices are
// i32, so a plane has fewer than 2^31 elements.
#include "ops/choice.h"

#include <algorithm>

#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"

namespace clearhead::ops {

void record_choice(Run& run, const char* op, const Tensor& x, const Tensor& out, const std::shared_ptr<const std::vector<int32_t>>& chosen,
                   int64_t planes) {
  if (planes > 0 && x.numel() / planes > INT32_MAX) {
    fail(ErrorCode::kUnsupported, "{}: {} has 2^31 elements or more to choose from", op, to_string(x.shape()));
  }
  if (!run.records({&x})) return;
  run.recorder->record(op, out, {}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Gradients::Place to = gradients.place(x);
    const int64_t of_out = out.numel() / std::max<int64_t>(1, planes), of_x = x.numel() / std::max<int64_t>(1, planes);
    const float* from = d_out.data<float>();
    float* d_x = to.gradient.mutable_data<float>();
    parallel_ranges(planes, grain_of(of_x), [&](int64_t begin, int64_t end, int) {
      if (!to.accumulate) std::fill(d_x + begin * of_x, d_x + end * of_x, 0.0F);
      for (int64_t plane = begin; plane < end; ++plane) {
        for (int64_t i = plane * of_out; i < (plane + 1) * of_out; ++i) d_x[plane * of_x + (*chosen)[static_cast<size_t>(i)]] += from[i];
      }
    });
  });
}

}  // namespace clearhead::ops
