// Batch sizes, runs with an observer, and measures that all kinds of answers use.
#include "explain/evaluate/robust_answers.h"

#include <algorithm>

#include "ops/ops.h"

namespace clearhead::explain {

void RobustAnswers::run_observed(const std::vector<Reading>& readings, size_t text, Observer& observer) const {
  model_.run(batch_of(model_, readings, {text}), {.observer = &observer, .logits = false});
}

int64_t RobustAnswers::most_tokens_with_logits() const {
  constexpr int64_t kMostLogits = int64_t{1} << 24;
  return std::max<int64_t>(64, kMostLogits / model_.info().vocabulary);
}

void MeasuredTexts::append_to(std::vector<MetricEstimate>& out, const std::string& name) const {
  if (!values_.empty()) out.push_back({name, metrics::bootstrap_mean(values_, {.seed = options_.seed})});
}

std::vector<float> losses_of(const Tensor& logits, const std::vector<int32_t>& targets) {
  const Tensor losses = ops::losses(logits.contiguous().reshape({static_cast<int64_t>(targets.size()), logits.size(2)}), targets);
  return {losses.data<float>(), losses.data<float>() + losses.numel()};
}

}  // namespace clearhead::explain
