// mean += (1 − min(keep, (1 + step)/(10 + step)))·(weights − mean); exchange() swaps both, to validate and save with the mean.
#include "train/average.h"

#include <algorithm>

#include "base/parallel.h"

namespace clearhead::train {
namespace {

constexpr int64_t kGrain = int64_t{1} << 15;  // weights per unit of parallel work

}  // namespace

void WeightAverage::add(const Tensor& values, bool moves) { parts_.push_back(keep_ > 0 && moves ? Part{values, values.clone()} : Part{}); }

void WeightAverage::follow(int64_t step) {
  const double now = static_cast<double>(step);
  const float share = static_cast<float>(1 - std::min(keep_, (1 + now) / (10 + now)));
  for (Part& part : parts_) {
    if (!part.mean.defined()) continue;
    const float* from = part.values.data<float>();
    float* to = part.mean.mutable_data<float>();
    parallel_ranges(part.mean.numel(), kGrain, [=](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) to[i] += share * (from[i] - to[i]);
    });
  }
}

void WeightAverage::exchange() {
  for (Part& part : parts_) {
    if (!part.mean.defined()) continue;
    float* values = part.values.mutable_data<float>();
    std::swap_ranges(values, values + part.values.numel(), part.mean.mutable_data<float>());
  }
}

}  // namespace clearhead::train
