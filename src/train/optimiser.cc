#include "train/optimiser.h"

#include <algorithm>
#include <cmath>

#include "backends/registry.h"
#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {

void Optimiser::add(const Tensor& values, bool decays) {
  parts_.push_back({values, Tensor::zeros(values.shape()), Tensor::zeros(values.shape()), decays});
}

double Optimiser::step(Tape& tape, double rate) {
  const DenseGradients& kernels = backend().gradients;
  double squares = 0;
  for (const Part& part : parts_) squares += kernels.sum_of_squares(tape.gradient(part.values).data<float>(), part.values.numel());
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) fail(ErrorCode::kInvalidArgument, "step {}: the gradient is not finite; nothing was changed", steps_);
  const double scale = options_.clip > 0 && norm > options_.clip ? options_.clip / norm : 1;
  ++steps_;
  const auto correction = [&](double beta) { return static_cast<float>(1 - std::pow(beta, static_cast<double>(steps_))); };
  for (Part& part : parts_) {
    kernels.adam({.weights = part.values.mutable_data<float>(),
                  .m = part.m.mutable_data<float>(),
                  .v = part.v.mutable_data<float>(),
                  .gradients = tape.gradient(part.values).data<float>(),
                  .count = part.values.numel(),
                  .rate = static_cast<float>(rate),
                  .beta1 = static_cast<float>(options_.beta1),
                  .beta2 = static_cast<float>(options_.beta2),
                  .epsilon = static_cast<float>(options_.epsilon),
                  .decay = part.decays ? static_cast<float>(options_.decay) : 0,
                  .gradient_scale = static_cast<float>(scale),
                  .correction1 = correction(options_.beta1),
                  .correction2 = correction(options_.beta2)});
  }
  tape.clear_gradients();
  return norm;
}

double Schedule::at(int64_t step) const {
  const double now = static_cast<double>(step), rise = static_cast<double>(warmup);
  if (now < rise) return rate * (now + 1) / rise;
  const double share = steps > warmup ? std::min(1.0, (now - rise) / (static_cast<double>(steps) - rise)) : 0;
  if (kind == Kind::kLinear) return rate * (1 - (1 - floor) * share);
  if (kind == Kind::kCosine) return rate * (floor + (1 - floor) * 0.5 * (1 + std::cos(M_PI * share)));
  const double left = cooldown > 0 ? std::clamp((static_cast<double>(steps) - now) / static_cast<double>(cooldown), 0.0, 1.0) : 1;
  const double fallen = kind == Kind::kNoam ? std::sqrt(std::max(rise, 1.0) / (now + 1)) : 1;
  return rate * fallen * (floor + (1 - floor) * left);
}

}  // namespace clearhead
