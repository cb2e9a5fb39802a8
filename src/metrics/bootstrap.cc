// Computes the means of resamples in parallel. Each resample uses its own range of random-number counters.
#include "metrics/bootstrap.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "metrics/checks.h"

namespace clearhead::metrics {
namespace {

void check(const BootstrapOptions& options) {
  if (options.resamples < 1) fail(ErrorCode::kInvalidArgument, "bootstrap: {} resamples; expected at least one", options.resamples);
  if (!(options.confidence >= 0 && options.confidence <= 1)) {
    fail(ErrorCode::kInvalidArgument, "bootstrap: confidence {}; expected 0 … 1", options.confidence);
  }
}

std::vector<double> resampled_means(std::span<const double> values, const BootstrapOptions& options) {
  check(options);
  std::vector<double> means(static_cast<size_t>(options.resamples));
  const uint64_t size = values.size();
  parallel_ranges(options.resamples, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t b = begin; b < end; ++b) {
      double sum = 0;
      for (uint64_t i = 0; i < size; ++i) sum += values[random_bits(options.seed, static_cast<uint64_t>(b) * size + i) % size];
      means[static_cast<size_t>(b)] = sum / static_cast<double>(size);
    }
  });
  return means;
}

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - static_cast<double>(below));
}

Interval interval_of(std::span<const double> values, std::vector<double> means, double confidence) {
  Interval out;
  for (const double value : values) out.mean += value;
  out.mean /= static_cast<double>(values.size());
  std::sort(means.begin(), means.end());
  out.low = quantile(means, (1 - confidence) / 2);
  out.high = quantile(means, (1 + confidence) / 2);
  return out;
}

}  // namespace

Interval percentiles_of(std::span<const double> values, double confidence) {
  check({.confidence = confidence});
  check_sides("percentiles", "values", values.size(), values.size());
  check_finite("percentiles", "values", values);
  return interval_of(values, {values.begin(), values.end()}, confidence);
}

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  check_sides("bootstrap", "values", values.size(), values.size());
  check_finite("bootstrap", "values", values);
  return interval_of(values, resampled_means(values, options), options.confidence);
}

Interval bootstrap_statistic(size_t count, const std::function<double(std::span<const size_t> drawn)>& statistic,
                             const BootstrapOptions& options) {
  check_sides("bootstrap", "examples", count, count);
  check(options);
  std::vector<size_t> all(count);
  std::iota(all.begin(), all.end(), size_t{0});
  Interval out{.mean = statistic(all)};
  std::vector<double> found(static_cast<size_t>(options.resamples));
  parallel_ranges(options.resamples, 16, [&](int64_t begin, int64_t end, int) {
    std::vector<size_t> drawn(count);
    for (int64_t b = begin; b < end; ++b) {
      for (uint64_t i = 0; i < count; ++i) drawn[i] = random_bits(options.seed, static_cast<uint64_t>(b) * count + i) % count;
      found[static_cast<size_t>(b)] = statistic(drawn);
    }
  });
  std::sort(found.begin(), found.end());
  out.low = quantile(found, (1 - options.confidence) / 2);
  out.high = quantile(found, (1 + options.confidence) / 2);
  return out;
}

PairedDifference paired_bootstrap(std::span<const double> first, std::span<const double> second, const BootstrapOptions& options) {
  check_sides("paired bootstrap", "values", first.size(), second.size());
  check_finite("paired bootstrap", "first", first);
  check_finite("paired bootstrap", "second", second);
  std::vector<double> differences;
  for (size_t i = 0; i < first.size(); ++i) differences.push_back(first[i] - second[i]);
  const std::vector<double> means = resampled_means(differences, options);
  PairedDifference out{interval_of(differences, means, options.confidence), 1};
  const double observed = out.difference.mean;
  const auto beyond = std::count_if(means.begin(), means.end(), [&](double mean) {
    // |mean − observed| ≥ |observed|, without rounding
    return observed >= 0 ? mean <= 0 || mean >= 2 * observed : mean >= 0 || mean <= 2 * observed;
  });
  out.p = static_cast<double>(1 + beyond) / static_cast<double>(1 + means.size());
  return out;
}

}  // namespace clearhead::metrics
