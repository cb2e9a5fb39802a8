// Counts every class in one pass. Correlations are computed from centred values.
#include "metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "metrics/checks.h"

namespace clearhead::metrics {
namespace {

void check_classes(std::string_view side, std::span<const int32_t> values, int32_t classes) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0 || values[i] >= classes) {
      fail(ErrorCode::kInvalidArgument, "classification: {}[{}] is {}; expected a class from 0 to {}", side, i, values[i], classes - 1);
    }
  }
}

void check_bits(std::string_view side, std::span<const uint8_t> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] > 1) fail(ErrorCode::kInvalidArgument, "multi-label: {}[{}] is {}; expected 0 or 1", side, i, values[i]);
  }
}

double matthews_of(const std::vector<Counts>& classes, double examples) {
  double correct = 0, both = 0, predicted = 0, expected = 0;
  for (const Counts& counts : classes) {
    const double p = static_cast<double>(counts.predicted), t = static_cast<double>(counts.expected);
    correct += static_cast<double>(counts.correct);
    both += p * t;
    predicted += p * p;
    expected += t * t;
  }
  const double variance = (examples * examples - predicted) * (examples * examples - expected);
  return variance == 0 ? 0 : (correct * examples - both) / std::sqrt(variance);
}

// Subtracts the mean and divides by the largest magnitude, so that no square leaves the range of doubles. Empty if all
// values are equal.
std::vector<double> centred(std::span<const double> values) {
  if (std::all_of(values.begin(), values.end(), [&](double value) { return value == values[0]; })) return {};
  double mean = 0, largest = 0;
  for (const double value : values) mean += value / static_cast<double>(values.size());
  for (const double value : values) largest = std::max(largest, std::abs(value - mean));
  std::vector<double> out;
  for (const double value : values) out.push_back((value - mean) / largest);
  return out;
}

double pearson_of(std::span<const double> a, std::span<const double> b) {
  const std::vector<double> x = centred(a), y = centred(b);
  if (x.empty() || y.empty()) return std::numeric_limits<double>::quiet_NaN();
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += x[i] * y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  return std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

// Ranks from 1 for the smallest value. Equal values share the mean of their ranks.
std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t at = begin; at < end; ++at) ranks[order[at]] = static_cast<double>(begin + 1 + end) / 2;
    begin = end;
  }
  return ranks;
}

}  // namespace

Classification classification(std::span<const int32_t> predicted, std::span<const int32_t> expected, int32_t classes) {
  check_sides("classification", "examples", predicted.size(), expected.size());
  check_classes("predicted", predicted, classes);
  check_classes("expected", expected, classes);
  std::vector<Counts> counts(static_cast<size_t>(classes));
  for (size_t i = 0; i < expected.size(); ++i) {
    ++counts[static_cast<size_t>(predicted[i])].predicted;
    ++counts[static_cast<size_t>(expected[i])].expected;
    if (predicted[i] == expected[i]) ++counts[static_cast<size_t>(expected[i])].correct;
  }
  Classification out;
  for (const Counts& of_class : counts) out.classes.push_back(score_of(of_class));
  out.matthews = matthews_of(counts, static_cast<double>(expected.size()));
  std::erase_if(counts, [](const Counts& of_class) { return of_class.predicted + of_class.expected == 0; });
  out.average = averages_of(counts);
  out.accuracy = out.average.micro.f1;
  return out;
}

MultiLabel multi_label(std::span<const uint8_t> predicted, std::span<const uint8_t> expected, size_t labels) {
  check_sides("multi-label", "values", predicted.size(), expected.size());
  if (labels == 0 || expected.size() % labels != 0) {
    fail(ErrorCode::kInvalidArgument,
         "multi-label: {} values do not divide into rows of {} labels; expected a multiple of the number of labels", expected.size(),
         labels);
  }
  check_bits("predicted", predicted);
  check_bits("expected", expected);
  std::vector<Counts> counts(labels);
  int64_t right = 0;
  for (size_t begin = 0; begin < expected.size(); begin += labels) {
    bool is_right = true;
    for (size_t k = 0; k < labels; ++k) {
      const uint8_t said = predicted[begin + k], is = expected[begin + k];
      counts[k].predicted += said;
      counts[k].expected += is;
      counts[k].correct += said & is;
      is_right &= said == is;
    }
    right += is_right;
  }
  const size_t examples = expected.size() / labels;
  MultiLabel out;
  for (const Counts& of_label : counts) out.labels.push_back(score_of(of_label));
  out.average = averages_of(counts);
  out.accuracy = static_cast<double>(right) / static_cast<double>(examples);
  return out;
}

Regression regression(std::span<const double> predicted, std::span<const double> expected) {
  check_sides("regression", "numbers", predicted.size(), expected.size());
  check_finite("regression", "predicted", predicted);
  check_finite("regression", "expected", expected);
  Regression out;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = predicted[i] - expected[i];
    out.mean_squared_error += error * error;
    out.mean_absolute_error += std::abs(error);
  }
  out.mean_squared_error /= static_cast<double>(expected.size());
  out.mean_absolute_error /= static_cast<double>(expected.size());
  out.pearson = pearson_of(predicted, expected);
  out.spearman = pearson_of(ranks_of(predicted), ranks_of(expected));
  return out;
}

}  // namespace clearhead::metrics
