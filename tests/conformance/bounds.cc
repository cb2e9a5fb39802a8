#include "bounds.h"

#include <cmath>
#include <limits>

#include "backends/ref/normalise.h"
#include "backends/widen.h"
#include "spec/visible.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

constexpr double kNoise = 4 * tolerance::kEpsilon * 17;  // error of a random draw: the noise added to a score is at most 17

// The largest magnitude that a table of relative values can add to each channel of a value. [channel]
std::vector<double> largest_beside(const AttentionSpec& spec, size_t channels) {
  const Relative* pair = std::get_if<Relative>(&spec.score);
  std::vector<double> largest(channels, 0);
  if (!pair || !pair->values) return largest;
  const Tensor table = pair->values->contiguous();
  const float* entry = table.data<float>();
  for (int64_t i = 0; i < table.numel(); ++i) {
    double& most = largest[static_cast<size_t>(i % table.size(2))];
    most = std::max(most, std::abs(static_cast<double>(entry[i])));
  }
  return largest;
}

}  // namespace

RowBounds bounds_of(const AttentionSpec& spec, const OracleRow& row, const Keys& keys, const Tensor& v, int64_t batch, int64_t key_head) {
  const Tensor values = widened(v);
  const bool is_linear = std::holds_alternative<LinearAttention>(spec.normaliser);
  const double delta = is_linear ? tolerance::of_features(row.largest, key_width(keys)) : tolerance::of_scores(row.largest);
  RowBounds out;
  out.score = delta;
  out.out.assign(row.out.size(), 0);
  out.row_sum = tolerance::kRowSum;
  const bool is_sparse = reference::has_threshold(spec.normaliser);
  const double unit = is_sparse ? 1.4427 : 1;  // m is a score in base 2
  out.m = unit * delta + tolerance::kEpsilon * (2 + std::abs(row.m));
  out.threshold = delta + tolerance::kEpsilon * (2 + std::abs(row.threshold));
  out.l = tolerance::kWeightF32 * std::abs(row.l) + (std::holds_alternative<Hard>(spec.normaliser) ? delta + tolerance::kWeightF32 : 0);
  const Hard* hard = std::get_if<Hard>(&spec.normaliser);
  const bool may_choose_another = hard && row.sees_any && !(row.lead > 2 * (delta + (hard->choice == Hard::Choice::kSampled ? kNoise : 0)));
  if (may_choose_another) out.m = std::numeric_limits<double>::infinity();
  if (is_linear) out.l += static_cast<double>(row.visible) * delta;
  const std::vector<double> beside = largest_beside(spec, out.out.size());
  for (size_t j = 0; j < row.weights.size(); ++j) {
    if (row.scores[j] == -std::numeric_limits<double>::infinity()) {
      out.weights.push_back(0);
      continue;
    }
    const double error = may_choose_another ? 1 : weight_error(spec.normaliser, row, j, delta);
    const bool underflows = std::holds_alternative<Softmax>(spec.normaliser) || std::holds_alternative<Sigmoid>(spec.normaliser);
    const double bound = std::abs(row.weights[j]) * tolerance::kWeightF32 + error + (underflows ? tolerance::kUnderflow : 0);
    out.weights.push_back(bound);
    // A sparse row's threshold is computed from its own f32 scores, however inaccurate these are, so the row still sums to one within the
    // f32 error of the solver.
    const double of_sum = is_sparse && error > 0 ? 4 * tolerance::kEpsilon : bound - tolerance::kWeightF32 * std::abs(row.weights[j]);
    out.row_sum += of_sum;
    if (out.out.empty() || !(bound > 0)) continue;
    const reference::Vector value = reference::value_vector(keys, values, batch, key_head, static_cast<int64_t>(j));
    const double weight = std::abs(row.weights[j]), changed = tolerance::after(row.after[j]) * weight;
    const double factor = (bound + changed + (tolerance::kForwardF32 - tolerance::kWeightF32) * weight) * std::abs(row.after[j]);
    for (size_t c = 0; c < out.out.size(); ++c) {
      const double element = std::abs(value[static_cast<int64_t>(c)]) + beside[c];
      out.out[c] += factor * element + tolerance::kUnderflow * element;
    }
  }
  return out;
}

}  // namespace clearhead::conformance
