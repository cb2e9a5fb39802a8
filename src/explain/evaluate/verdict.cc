// Evaluates one text after another. Results that all rankings of a text share are computed only once (remembered.h).
#include "explain/evaluate/verdict.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "explain/evaluate/agreement.h"
#include "explain/evaluate/clearness.h"
#include "explain/evaluate/faithfulness.h"
#include "explain/evaluate/plausibility.h"
#include "explain/remembered.h"

namespace clearhead::explain {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kFewest = 3;
constexpr size_t kCurveSteps = 20;

// The results that all rankings of one text share.
struct Known {
  Answers answers{};
  std::vector<double> left_out{};
  Changes changes{}, of_quarter{};
  std::vector<uint8_t> marks{};
};

std::vector<double> judged(const std::vector<double>& scores, const Known& text) {
  std::vector<double> out(measures().size(), kNaN);
  const auto set = [&](Measure measure, double value) { out[static_cast<size_t>(measure)] = value; };
  const Erasure erased = erasure(text.answers, scores);
  set(Measure::kComprehensiveness, erased.comprehensiveness_aopc);
  set(Measure::kSufficiency, erased.sufficiency_aopc);
  const Curves areas = curves(text.answers, scores, kCurveSteps);
  set(Measure::kDeletion, areas.deletion_area);
  set(Measure::kInsertion, areas.insertion_area);
  set(Measure::kLeaveOneOut, kendall(scores, text.left_out));
  set(Measure::kInfidelity, infidelity(scores, text.changes).scaled);
  set(Measure::kSensitivity, sensitivity_n(scores, text.of_quarter));
  const bool any = std::any_of(text.marks.begin(), text.marks.end(), [](uint8_t mark) { return mark != 0; });
  if (any) {
    const Plausibility agrees = plausibility(scores, text.marks);
    set(Measure::kAuprc, agrees.auprc);
    set(Measure::kTokenF1, agrees.token_f1);
  }
  std::vector<double> sizes = scores;
  double sum = 0;
  for (double& size : sizes) sum += size = std::abs(size);
  if (sum > 0) {
    const Clearness clear = clearness(sizes);
    set(Measure::kGini, clear.gini);
    set(Measure::kEffective, clear.effective_keys);
  }
  return out;
}

metrics::Interval mean_of(const std::vector<double>& values) {
  std::vector<double> defined;
  std::copy_if(values.begin(), values.end(), std::back_inserter(defined), [](double value) { return std::isfinite(value); });
  return defined.empty() ? metrics::Interval{kNaN, kNaN, kNaN} : metrics::bootstrap_mean(defined);
}

}  // namespace

const std::vector<MeasureInfo>& measures() {
  static const std::vector<MeasureInfo> all = {
      {Measure::kComprehensiveness, "comprehensiveness"},
      {Measure::kSufficiency, "sufficiency"},
      {Measure::kDeletion, "deletion"},
      {Measure::kInsertion, "insertion"},
      {Measure::kLeaveOneOut, "leave-one-out"},
      {Measure::kInfidelity, "infidelity"},
      {Measure::kSensitivity, "sensitivity-n"},
      {Measure::kAuprc, "auprc", false},
      {Measure::kTokenF1, "token-f1", false},
      {Measure::kGini, "gini", false},
      {Measure::kEffective, "effective", false},
  };
  return all;
}

Verdict::Verdict(VerdictOptions options) : options_(std::move(options)) {
  if (options_.methods.empty()) fail(ErrorCode::kInvalidArgument, "judge: no methods; give at least one");
  for (const Method& method : options_.methods) names_.push_back(method.name);
  names_.push_back("random");
  names_.push_back("reverse of " + std::string(options_.methods[0].name));
  values_.assign(names_.size(), std::vector<std::vector<double>>(measures().size()));
}

bool Verdict::add(const AttributionTarget& target, const std::vector<uint8_t>& marks) {
  const size_t items = target.items().size();
  if (static_cast<int64_t>(items) < kFewest) return false;
  if (!marks.empty() && marks.size() != items)
    fail(ErrorCode::kShape, "judge: {} marks for {} items; expected one for each", marks.size(), items);
  const uint64_t seed = random_bits(options_.seed, static_cast<uint64_t>(texts_));
  Remembered remembered(target, options_.removal);
  Known text{.answers = [&](const std::vector<Removal>& removed) { return remembered(removed); }, .marks = marks};
  const auto sets = static_cast<size_t>(options_.sets);
  text.left_out = leave_one_out(text.answers, items);
  text.changes = changes_of(text.answers, random_removals(items, 0, sets, seed));
  text.of_quarter = changes_of(text.answers, random_removals(items, std::max<size_t>(1, items / 4), sets, seed + 1));
  AttributionOptions how = options_.attribution;
  how.removal = options_.removal;
  std::vector<std::vector<double>> rows;
  std::vector<double> first;
  for (const Method& method : options_.methods) {
    const std::vector<double> scores = attribute(target, method, how);
    if (first.empty()) first = scores;
    rows.push_back(judged(scores, text));
  }
  std::vector<double> random(measures().size());
  for (int64_t draw = 0; draw < options_.random_rankings; ++draw) {
    const std::vector<double> one = judged(random_ranking(items, random_bits(seed, static_cast<uint64_t>(draw))), text);
    for (size_t at = 0; at < random.size(); ++at) random[at] += one[at] / static_cast<double>(options_.random_rankings);
  }
  rows.push_back(random);
  rows.push_back(judged(reverse_ranking(first), text));
  for (size_t method = 0; method < rows.size(); ++method) {
    for (size_t at = 0; at < rows[method].size(); ++at) values_[method][at].push_back(rows[method][at]);
  }
  ++texts_;
  return true;
}

metrics::Interval Verdict::mean(size_t method, Measure measure) const { return mean_of(values(method, measure)); }

metrics::Interval Verdict::against_random(size_t method, Measure measure) const {
  std::vector<double> difference = values(method, measure);
  const std::vector<double>& random = values(options_.methods.size(), measure);
  for (size_t text = 0; text < difference.size(); ++text) difference[text] -= random[text];
  return mean_of(difference);
}

}  // namespace clearhead::explain
