// Makes removals from rankings and passes each list of them to the model at once.
#include "explain/evaluate/faithfulness.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "explain/evaluate/agreement.h"
#include "metrics/checks.h"

namespace clearhead::explain {
namespace {

size_t items_of(double share, size_t items) {
  if (!(share > 0 && share <= 1))
    fail(ErrorCode::kInvalidArgument, "erasure: a share of {}; expected a number above 0 and at most 1", share);
  const double exact = share * static_cast<double>(items);
  return std::clamp(static_cast<size_t>(std::ceil(exact - 1e-9)), size_t{1}, items);  // 0.07 · 100 is 7.000000000000001
}

// Removes the first `count` items of an order, or all others.
Removal first_of(const std::vector<size_t>& order, size_t count, bool others = false) {
  Removal removed(order.size(), others ? 1 : 0);
  for (size_t at = 0; at < count; ++at) removed[order[at]] = others ? 0 : 1;
  return removed;
}

std::vector<double> asked(const Answers& answers, const std::vector<Removal>& removed) {
  std::vector<double> y = answers(removed);
  if (y.size() != removed.size()) {
    fail(ErrorCode::kInvalidArgument, "faithfulness: {} answers to {} removals; expected one answer for each removal", y.size(),
         removed.size());
  }
  metrics::check_finite("faithfulness", "answers", y);
  return y;
}

double area(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0;
  for (size_t i = 1; i < x.size(); ++i) sum += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
  return sum;
}

// The sum of the scores of each set.
std::vector<double> sums_of(std::span<const double> scores, const Changes& changes) {
  metrics::check_finite("faithfulness", "scores", scores);
  metrics::check_sides("faithfulness", "sets", changes.removed.size(), changes.change.size());
  std::vector<double> sums;
  for (const Removal& removed : changes.removed) {
    metrics::check_sides("faithfulness", "items", removed.size(), scores.size());
    double sum = 0;
    for (size_t i = 0; i < scores.size(); ++i) sum += removed[i] ? scores[i] : 0;
    sums.push_back(sum);
  }
  return sums;
}

}  // namespace

std::vector<size_t> ranked(std::span<const double> scores) {
  metrics::check_sides("ranking", "items", scores.size(), scores.size());
  metrics::check_finite("ranking", "scores", scores);
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

Erasure erasure(const Answers& answers, std::span<const double> scores, std::span<const double> shares) {
  const std::vector<size_t> order = ranked(scores);
  metrics::check_sides("erasure", "shares", shares.size(), shares.size());
  std::vector<Removal> removed{Removal(order.size(), 0)};
  for (const double share : shares) {
    const size_t count = items_of(share, order.size());
    removed.push_back(first_of(order, count));
    removed.push_back(first_of(order, count, true));
  }
  const std::vector<double> y = asked(answers, removed);
  Erasure out{y[0], {}, {}};
  for (size_t at = 0; at < shares.size(); ++at) {
    out.comprehensiveness.push_back(y[0] - y[1 + 2 * at]);
    out.sufficiency.push_back(y[0] - y[2 + 2 * at]);
    out.comprehensiveness_aopc += out.comprehensiveness.back() / static_cast<double>(shares.size());
    out.sufficiency_aopc += out.sufficiency.back() / static_cast<double>(shares.size());
  }
  return out;
}

Curves curves(const Answers& answers, std::span<const double> scores, size_t steps) {
  const std::vector<size_t> order = ranked(scores);
  if (steps == 0) fail(ErrorCode::kInvalidArgument, "curves: no steps; expected at least one");
  steps = std::min(steps, order.size());
  const std::vector<size_t> upwards(order.rbegin(), order.rend());
  std::vector<Removal> removed;  // [step 0 … steps of deletion, then step 1 … steps − 1 of insertion]
  Curves out;
  const auto count_at = [&](size_t step) { return step * order.size() / steps; };
  for (size_t step = 0; step <= steps; ++step) {
    out.removed.push_back(static_cast<double>(count_at(step)) / static_cast<double>(order.size()));
    removed.push_back(first_of(order, count_at(step)));
  }
  for (size_t step = 1; step < steps; ++step) removed.push_back(first_of(upwards, count_at(step)));
  const std::vector<double> y = asked(answers, removed);
  const auto at = [&](size_t index) { return y.begin() + static_cast<std::ptrdiff_t>(index); };
  out.deletion.assign(at(0), at(steps + 1));
  out.insertion.push_back(y[0]);
  out.insertion.insert(out.insertion.end(), at(steps + 1), y.end());
  out.insertion.push_back(y[steps]);
  out.deletion_area = area(out.removed, out.deletion);
  out.insertion_area = area(out.removed, out.insertion);
  return out;
}

std::vector<double> leave_one_out(const Answers& answers, size_t items) {
  metrics::check_sides("leave-one-out", "items", items, items);
  std::vector<Removal> removed(items + 1, Removal(items, 0));
  for (size_t i = 0; i < items; ++i) removed[i + 1][i] = 1;
  const std::vector<double> y = asked(answers, removed);
  std::vector<double> out;
  for (size_t i = 0; i < items; ++i) out.push_back(y[0] - y[i + 1]);
  return out;
}

std::vector<Removal> random_removals(size_t items, size_t size, size_t count, uint64_t seed) {
  if (items == 0 || size > items) {
    fail(ErrorCode::kInvalidArgument,
         "random_removals: sets of {} out of {} items; expected at least one item, and sets no larger than that", size, items);
  }
  std::vector<Removal> out;
  for (size_t set = 0; set < count; ++set) {
    RandomSequence random(random_bits(seed, set));
    const size_t wanted = size == 0 ? 1 + random.roll(items) : size;
    std::vector<size_t> order(items);
    std::iota(order.begin(), order.end(), size_t{0});
    random.shuffle(order);
    out.push_back(first_of(order, wanted));
  }
  return out;
}

Changes changes_of(const Answers& answers, std::vector<Removal> removed) {
  metrics::check_sides("faithfulness", "sets", removed.size(), removed.size());
  removed.emplace_back(removed[0].size(), 0);
  std::vector<double> y = asked(answers, removed);
  Changes out{std::move(removed), std::move(y)};
  const double whole = out.change.back();
  out.removed.pop_back();
  out.change.pop_back();
  for (double& value : out.change) value = whole - value;
  return out;
}

Infidelity infidelity(std::span<const double> scores, const Changes& changes) {
  const std::vector<double> sums = sums_of(scores, changes);
  double products = 0, squares = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    products += sums[i] * changes.change[i];
    squares += sums[i] * sums[i];
  }
  Infidelity out;
  out.scale = squares == 0 ? 0 : products / squares;
  for (size_t i = 0; i < sums.size(); ++i) {
    out.plain += std::pow(sums[i] - changes.change[i], 2) / static_cast<double>(sums.size());
    out.scaled += std::pow(out.scale * sums[i] - changes.change[i], 2) / static_cast<double>(sums.size());
  }
  return out;
}

double sensitivity_n(std::span<const double> scores, const Changes& changes) {
  const std::vector<double> sums = sums_of(scores, changes);
  const auto size_of = [](const Removal& removed) { return std::count(removed.begin(), removed.end(), 1); };
  for (const Removal& removed : changes.removed) {
    if (size_of(removed) != size_of(changes.removed[0])) {
      fail(ErrorCode::kInvalidArgument, "sensitivity-n: sets of {} and of {} items; expected sets of equal size",
           size_of(changes.removed[0]), size_of(removed));
    }
  }
  return pearson(sums, changes.change);
}

std::vector<double> random_ranking(size_t items, uint64_t seed) {
  std::vector<double> scores(items);
  std::iota(scores.begin(), scores.end(), 1.0);
  RandomSequence(seed).shuffle(scores);
  return scores;
}

std::vector<double> reverse_ranking(std::span<const double> scores) {
  const std::vector<size_t> order = ranked(scores);
  std::vector<double> out(order.size());
  for (size_t at = 0; at < order.size(); ++at) out[order[at]] = static_cast<double>(at + 1);
  return out;
}

metrics::PairedDifference against(std::span<const double> method, std::span<const double> baseline,
                                  const metrics::BootstrapOptions& options) {
  return metrics::paired_bootstrap(method, baseline, options);
}

}  // namespace clearhead::explain
