// Cross-entropy over tokens or classes, fused: the softmax is never stored. d_logits = (softmax − target)·d_loss.
#include <algorithm>
#include <array>
#include <limits>

#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

// The index of the largest element that is not NaN; 0 if there is none. Compilers vectorise the lanes of maxima; std::max_element
// took longer than the exponentials.
int64_t index_of_largest(const float* x, int64_t count) {
  constexpr int64_t kLanes = 16;
  std::array<float, kLanes> most;
  most.fill(-std::numeric_limits<float>::infinity());
  int64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float value = x[static_cast<size_t>(at) + lane];
      most[lane] = value > most[lane] ? value : most[lane];
    }
  }
  float largest = *std::max_element(most.begin(), most.end());
  for (; at < count; ++at) largest = x[at] > largest ? x[at] : largest;
  const float* found = std::find(x, x + count, largest);
  return found == x + count ? 0 : found - x;
}

// Checks shapes and targets. Returns the number of rows that are not ignored.
int64_t counted_rows(const Tensor& logits, const std::vector<int32_t>& targets, int32_t ignored) {
  if (logits.rank() != 2 || !logits.is_contiguous() || logits.size(1) < 1 || static_cast<int64_t>(targets.size()) != logits.size(0)) {
    fail(ErrorCode::kShape, "cross_entropy: logits are {}, with {} targets; expected contiguous [rows, classes], and one target per row",
         to_string(logits.shape()), targets.size());
  }
  int64_t counted = 0;
  for (const int32_t target : targets) {
    if (target != ignored && (target < 0 || target >= logits.size(1))) {
      fail(ErrorCode::kInvalidArgument, "cross_entropy: target {}; expected a class in [0, {}), or {} for a row to ignore", target,
           logits.size(1), ignored);
    }
    counted += target != ignored;
  }
  return counted;
}

}  // namespace

Tensor losses(const Tensor& logits, const std::vector<int32_t>& targets) {
  counted_rows(logits, targets, CrossEntropyCall{}.ignored);
  Tensor out = Tensor::empty({logits.size(0)}), log_sum_exp = Tensor::empty({logits.size(0)});
  backend().gradients.cross_entropy({.logits = logits.data<float>(),
                                     .targets = targets.data(),
                                     .rows = logits.size(0),
                                     .classes = logits.size(1),
                                     .losses = out.mutable_data<float>(),
                                     .log_sum_exp = log_sum_exp.mutable_data<float>()});
  return out;
}

double log_sum_exp(const float* x, int64_t count) {
  const auto largest = static_cast<int32_t>(index_of_largest(x, count));
  float loss = 0, rounded = 0;
  backend().gradients.cross_entropy(
      {.logits = x, .targets = &largest, .rows = 1, .classes = count, .losses = &loss, .log_sum_exp = &rounded});
  return static_cast<double>(x[largest]) + static_cast<double>(loss);  // the loss is small, so its rounding error is small
}

Tensor cross_entropy(Run& run, const Tensor& logits, const std::vector<int32_t>& targets, const CrossEntropyOptions& options) {
  const int64_t counted = counted_rows(logits, targets, options.ignored), rows = logits.size(0), classes = logits.size(1);
  const double divisor = options.divisor > 0 ? options.divisor : static_cast<double>(std::max<int64_t>(1, counted));
  Tensor losses = run.result({rows});
  Tensor log_sum_exp = run.result({rows});
  CrossEntropyCall call{.logits = logits.data<float>(),
                        .targets = targets.data(),
                        .rows = rows,
                        .classes = classes,
                        .smoothing = options.smoothing,
                        .ignored = options.ignored,
                        .losses = losses.mutable_data<float>(),
                        .log_sum_exp = log_sum_exp.mutable_data<float>()};
  backend().gradients.cross_entropy(call);
  const std::vector<float>& weights = options.row_weights;
  if (!weights.empty() && static_cast<int64_t>(weights.size()) != rows)
    fail(ErrorCode::kShape, "cross_entropy: {} weights for {} rows; expected one for each", weights.size(), rows);
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const double weight = weights.empty() ? 1 : static_cast<double>(weights[static_cast<size_t>(row)]);
    sum += weight * static_cast<double>(losses.data<float>()[row]);
  }
  Tensor loss = run.result({1});
  *loss.mutable_data<float>() = static_cast<float>(sum / divisor);
  if (!run.records({&logits})) return loss;
  run.recorder->record("cross_entropy", loss, {logits, log_sum_exp}, [=, weights = weights](Gradients& gradients) {
    const float each = static_cast<float>(static_cast<double>(*gradients.of(loss).data<float>()) / divisor);
    std::vector<float> d_losses(static_cast<size_t>(rows), each);
    for (size_t row = 0; row < weights.size(); ++row) d_losses[row] *= weights[row];
    Gradients::Place to = gradients.place(logits);
    CrossEntropyCall back = call;
    back.targets = targets.data();
    back.logits = logits.data<float>();
    back.log_sum_exp = const_cast<float*>(log_sum_exp.data<float>());
    back.d_losses = d_losses.data();
    back.d_logits = to.gradient.mutable_data<float>();
    back.accumulate = to.accumulate;
    backend().gradients.cross_entropy_gradient(back);
  });
  return loss;
}

}  // namespace clearhead::ops
