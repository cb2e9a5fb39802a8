// Bootstrap: percentile confidence intervals of a mean, over resamples drawn with replacement (Efron 1979), and paired
// differences of two systems (Koehn 2004; p as in Berg-Kirkpatrick et al. 2012).
//
//   mean*_b = (1/n) Σ_i value[index(b, i)]      b = 0 … resamples − 1      95 % interval: the 2.5th and 97.5th percentile of mean*_b
//
// Percentiles interpolate linearly between order statistics (numpy's default). index(b, i) = random_bits(seed, b·n + i)
// mod n (base/random.h), so a seed gives the same bits on any machine and for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace clearhead::metrics {

struct BootstrapOptions {
  int64_t resamples = 1000;
  double confidence = 0.95;
  uint64_t seed = 1;
};

struct Interval {
  double mean = 0;           // of the values, not of the resamples
  double low = 0, high = 0;  // percentiles of the means of the resamples
};

/// Throws kInvalidArgument without values, for values that are not finite, for fewer than one resample, and for a
/// confidence outside 0 … 1.
Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});

/// The same for any statistic of `count` examples. It receives the indices of the drawn examples, and first all of them in order; it runs on
/// several threads. Throws kInvalidArgument for no examples, and as bootstrap_mean for the options.
Interval bootstrap_statistic(size_t count, const std::function<double(std::span<const size_t> drawn)>& statistic,
                             const BootstrapOptions& options = {});

/// The mean and the percentiles of the values themselves, not of their mean. Throws kInvalidArgument as bootstrap_mean does.
Interval percentiles_of(std::span<const double> values, double confidence = 0.95);

struct PairedDifference {
  Interval difference;  // of first − second
  // Two-sided p-value of the hypothesis that there is no difference: (1 + #{b: |d*_b − d| ≥ |d|}) / (1 + resamples), where d
  // is the mean difference and d*_b that of resample b. It is 1 for a system compared with itself.
  double p = 1;
};

/// first[i] and second[i] are the scores of two systems for the same example and are resampled together. Throws as
/// bootstrap_mean, and if their numbers differ.
PairedDifference paired_bootstrap(std::span<const double> first, std::span<const double> second, const BootstrapOptions& options = {});

}  // namespace clearhead::metrics
