// Computes scores and averages from counts.
#include "metrics/score.h"

namespace clearhead::metrics {
namespace {

double ratio(int64_t part, int64_t whole) { return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole); }

void add(Score& sum, const Score& score, double weight) {
  sum.precision += weight * score.precision;
  sum.recall += weight * score.recall;
  sum.f1 += weight * score.f1;
}

void divide(Score& sum, double by) {
  if (by == 0) return;
  sum.precision /= by;
  sum.recall /= by;
  sum.f1 /= by;
}

}  // namespace

Score score_of(const Counts& counts) {
  return {ratio(counts.correct, counts.predicted), ratio(counts.correct, counts.expected),
          ratio(2 * counts.correct, counts.predicted + counts.expected), counts.expected};
}

Averages averages_of(const std::vector<Counts>& classes) {
  Averages out;
  Counts sums;
  for (const Counts& counts : classes) {
    const Score score = score_of(counts);
    add(out.macro, score, 1);
    add(out.weighted, score, static_cast<double>(counts.expected));
    sums.correct += counts.correct;
    sums.predicted += counts.predicted;
    sums.expected += counts.expected;
  }
  divide(out.macro, static_cast<double>(classes.size()));
  divide(out.weighted, static_cast<double>(sums.expected));
  out.micro = score_of(sums);
  out.macro.support = out.weighted.support = sums.expected;
  return out;
}

}  // namespace clearhead::metrics
