// Counts discordant pairs as the exchanges of a merge sort.
#include "explain/evaluate/agreement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "metrics/checks.h"
#include "metrics/classification.h"

namespace clearhead::explain {
namespace {

// Sorts `values` and returns the number of exchanges.
double exchanges(std::span<double> values, std::span<double> scratch) {
  if (values.size() < 2) return 0;
  const size_t half = values.size() / 2;
  double count = exchanges(values.first(half), scratch.first(half)) + exchanges(values.subspan(half), scratch.subspan(half));
  size_t left = 0, right = half;
  for (double& out : scratch.first(values.size())) {
    const bool takes_right = left == half || (right < values.size() && values[right] < values[left]);
    if (takes_right) count += static_cast<double>(half - left);
    out = takes_right ? values[right++] : values[left++];
  }
  std::copy_n(scratch.begin(), values.size(), values.begin());
  return count;
}

// The number of tied pairs, in an order that puts items that are `equal` next to each other.
template <class Equal>
double tied_pairs(size_t count, const Equal& equal) {
  double pairs = 0;
  for (size_t begin = 0; begin < count;) {
    size_t end = begin + 1;
    while (end < count && equal(end - 1, end)) ++end;
    const auto size = static_cast<double>(end - begin);
    pairs += size * (size - 1) / 2;
    begin = end;
  }
  return pairs;
}

void check(std::string_view metric, std::span<const double> x, std::span<const double> y) {
  metrics::check_sides(metric, "items", x.size(), y.size());
  metrics::check_finite(metric, "first", x);
  metrics::check_finite(metric, "second", y);
}

double share_sum(std::span<const double> shares) {
  double sum = 0;
  for (const double share : shares) {
    if (share < 0) fail(ErrorCode::kInvalidArgument, "Jensen–Shannon: a share of {}; expected none below 0", share);
    sum += share;
  }
  return sum;
}

}  // namespace

double kendall(std::span<const double> x, std::span<const double> y) {
  check("Kendall's tau", x, y);
  const size_t count = x.size();
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] != x[b] ? x[a] < x[b] : y[a] < y[b]; });
  const auto same_x = [&](size_t a, size_t b) { return x[order[a]] == x[order[b]]; };
  const double tied_x = tied_pairs(count, same_x);
  const double tied_both = tied_pairs(count, [&](size_t a, size_t b) { return same_x(a, b) && y[order[a]] == y[order[b]]; });
  std::vector<double> sorted, scratch(count);
  for (const size_t i : order) sorted.push_back(y[i]);
  const double opposite = exchanges(sorted, scratch);
  const double tied_y = tied_pairs(count, [&](size_t a, size_t b) { return sorted[a] == sorted[b]; });
  const double pairs = static_cast<double>(count) * (static_cast<double>(count) - 1) / 2;
  if (pairs == tied_x || pairs == tied_y) return std::numeric_limits<double>::quiet_NaN();
  const double same = pairs - tied_x - tied_y + tied_both - opposite;
  return std::clamp((same - opposite) / std::sqrt(pairs - tied_x) / std::sqrt(pairs - tied_y), -1.0, 1.0);
}

double pearson(std::span<const double> x, std::span<const double> y) { return metrics::regression(x, y).pearson; }

double spearman(std::span<const double> x, std::span<const double> y) { return metrics::regression(x, y).spearman; }

double jensen_shannon(std::span<const double> p, std::span<const double> q) {
  check("Jensen–Shannon", p, q);
  const double p_sum = share_sum(p), q_sum = share_sum(q);
  if (p_sum == 0 || q_sum == 0) return std::numeric_limits<double>::quiet_NaN();
  double divergence = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double a = p[i] / p_sum, b = q[i] / q_sum;
    if (a > 0) divergence += a * std::log(2 * a / (a + b)) / 2;
    if (b > 0) divergence += b * std::log(2 * b / (a + b)) / 2;
  }
  return std::clamp(divergence, 0.0, std::log(2.0));
}

std::vector<double> shared_row(std::span<const float> weights, std::span<const int64_t> places) {
  std::vector<double> out(places.size() + 1, 0);
  double sum = 0;
  for (const float weight : weights) {
    if (!(weight >= 0)) return {};
    sum += static_cast<double>(weight);
  }
  double rest = sum;
  for (size_t i = 0; i < places.size(); ++i) rest -= out[i] = static_cast<double>(weights[static_cast<size_t>(places[i])]);
  out.back() = std::max(0.0, rest);
  return sum > 0 ? out : std::vector<double>();
}

}  // namespace clearhead::explain
