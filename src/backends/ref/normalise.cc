// Weights, row statistics, error sizes and gradients of every normaliser: one visitor for each of these. τ is found from
// the sorted scores; a sampled hard choice adds Gumbel noise.
#include "backends/ref/normalise.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>

#include "backends/ref/backward.h"
#include "spec/base2.h"
#include "spec/keep.h"

namespace clearhead::reference {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// Rounds to bf16, to nearest even.
double rounded_to_bf16(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
}

// max(a, b), or NaN if either is NaN.
double greater(double a, double b) { return std::isnan(a) || a > b ? a : b; }
double above(double a, double threshold) { return a <= threshold ? 0 : a - threshold; }

// The head's sink logit in base 2.
std::optional<double> sink_of(const AttentionSpec& spec, int64_t head) {
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  if (!softmax || !softmax->sinks) return std::nullopt;
  return in_base_2(static_cast<double>(softmax->sinks->data<float>()[head * softmax->sinks->stride(0)]));
}

// The smallest f32 that is not below x.
double rounded_up(double x) {
  const float near = static_cast<float>(x);
  return static_cast<double>(near) < x ? std::nextafter(near, std::numeric_limits<float>::infinity()) : near;
}

// The factor on a score for normalisers with a threshold: with y = factor·score in natural units, y − τ is the weight
// (sparsemax) or its square root (entmax-1.5).
double unit_of(const Sparsemax&) { return 1; }
double unit_of(const Entmax15&) { return 0.5; }

// max(0, y − τ).
template <class Sparse>
double excess(const Sparse& sparse, double score, const RecordedRow& row) {
  return above(unit_of(sparse) * std::numbers::ln2 * (in_base_2(score) - row.m), row.l);
}

// Solves Σ_j max(0, z_j − τ) = 1, or Σ_j max(0, z_j − τ)² = 1, for τ. Let τ_k be
// the solution for the k largest z alone; the result is τ_k for the largest k such that all of these z lie above τ_k. NaN and +∞ give NaN.
double threshold_of(std::vector<double> z, bool squared) {
  for (const double x : z) {
    if (!(x < std::numeric_limits<double>::infinity())) return std::numeric_limits<double>::quiet_NaN();
  }
  std::sort(z.begin(), z.end(), std::greater<>());
  const double top = z[0];
  double tau = 0, sum = 0, squares = 0;  // relative to the largest z
  for (size_t k = 0; k < z.size(); ++k) {
    const double x = z[k] - top, count = static_cast<double>(k + 1);
    sum += x, squares += x * x;
    const double mean = sum / count, spread = squares - sum * mean;  // Σ (x − mean)²
    if (squared && spread > 1) break;
    const double next = squared ? mean - std::sqrt((1 - spread) / count) : mean - 1 / count;
    if (x <= next) break;
    tau = next;
  }
  return top + tau;
}

// Gumbel noise, added to a score for sampling: −ln(−ln u), with u uniform, from the random bits of the (query, key) pair.
double gumbel(uint64_t noise, int64_t key) {
  const double u = (static_cast<double>(pair_bits(noise, key) >> 9) + 0.5) * 0x1p-23;
  return -std::log(-std::log(u));
}

// Sets `shift` to the largest score and returns ln Σ_j e^{s_j − shift}. NaN if a score is NaN or +∞.
double log_sum_exp_beside(const std::vector<double>& scores, double& shift) {
  double sum = 0;
  shift = kHidden;
  for (const double score : scores) shift = greater(score, shift);
  for (const double score : scores) sum += score == kHidden ? 0 : std::exp(score - shift);
  return std::log(sum);
}

struct Normalise {
  const RowOfScores& at;
  const std::vector<double>& scores;
  RowWeights& out;

  void operator()(const Softmax&) const {
    const auto sink = sink_of(at.spec, at.head);
    double shift = kHidden;
    for (const double score : scores) shift = greater(in_base_2(score), shift);
    if (sink) shift = greater(*sink, shift);
    out.m = static_cast<double>(static_cast<float>(shift));
    out.l = sink ? std::exp2(*sink - out.m) : 0;
    for (const double score : scores) out.l += score == kHidden ? 0 : std::exp2(in_base_2(score) - out.m);
  }
  void operator()(const Sparsemax& sparse) const { take_threshold(unit_of(sparse) * std::numbers::ln2, /*squared=*/false); }
  void operator()(const Entmax15& sparse) const { take_threshold(unit_of(sparse) * std::numbers::ln2, /*squared=*/true); }
  void operator()(const Sigmoid&) const { out.l = 1; }
  void operator()(const Hard& hard) const {
    double shift = 0;
    const double log_sum = log_sum_exp_beside(scores, shift);
    if (std::isnan(log_sum)) {
      out.m = out.l = log_sum;
      return;
    }
    const bool draws = hard.choice == Hard::Choice::kSampled;
    const uint64_t noise = draws ? noise_of(hard.seed, at.batch, at.head, at.query) : 0;
    double best = kHidden, next = kHidden;
    for (size_t j = 0; j < scores.size(); ++j) {
      const double score = scores[j] == kHidden || !draws ? scores[j] : scores[j] + gumbel(noise, static_cast<int64_t>(j));
      next = std::max(next, std::min(score, best));
      if (score > best) best = score, out.m = static_cast<double>(j);
    }
    out.lead = best - next;
    out.l = scores[static_cast<size_t>(out.m)] - shift - log_sum;
  }
  void operator()(const LinearAttention&) const {
    for (const double score : scores) out.l += score == kHidden ? 0 : score;
    if (std::abs(out.l) < 0x1p-126) out.l = 0;  // too small for f32 to divide by
  }
  // `unit` is the factor on scores in base 2. m is rounded up, so that the threshold lies below it.
  void take_threshold(double unit, bool squared) const {
    double largest = kHidden;
    for (const double score : scores) largest = greater(in_base_2(score), largest);
    out.m = rounded_up(largest);
    std::vector<double> beside;
    for (const double score : scores) {
      if (score != kHidden) beside.push_back(unit * (in_base_2(score) - out.m));
    }
    out.l = threshold_of(beside, squared);
    out.threshold = out.m * unit + out.l;
  }
};

struct WeightOf {
  double score;
  int64_t key;
  const RecordedRow& row;
  double operator()(const Softmax&) const {
    const double e = std::exp2(in_base_2(score) - row.m);
    return (row.rounds ? rounded_to_bf16(e) : e) / row.l;
  }
  double operator()(const Sparsemax& sparse) const { return excess(sparse, score, row); }
  double operator()(const Entmax15& sparse) const {
    const double root = excess(sparse, score, row);
    return root * root;
  }
  double operator()(const Sigmoid& sigmoid) const { return 1 / (1 + std::exp(-score - static_cast<double>(sigmoid.bias))); }
  double operator()(const Hard&) const { return std::isnan(row.m) ? row.m : static_cast<double>(key) == row.m ? 1 : 0; }
  double operator()(const LinearAttention&) const { return row.l == 0 ? 0 : score / row.l; }
};

void fill_weights(const AttentionSpec& spec, int64_t head, const std::vector<double>& scores, RowWeights& out) {
  if (!out.sees_any) return;
  for (size_t j = 0; j < scores.size(); ++j) {
    if (scores[j] != kHidden) out.weights[j] = weight_of(spec.normaliser, scores[j], static_cast<int64_t>(j), {out.m, out.l});
  }
  const bool is_squared = std::holds_alternative<Entmax15>(spec.normaliser);
  for (const double weight : out.weights) {
    if (has_threshold(spec.normaliser)) out.slope_sum += is_squared ? std::sqrt(weight) : weight == 0 ? 0 : 1;
  }
  if (std::holds_alternative<LinearAttention>(spec.normaliser)) {
    out.cancellation = 0;
    for (const double weight : out.weights) {
      out.cancellation += std::abs(weight);
      out.largest = std::max(out.largest, std::abs(weight));
    }
  }
  out.sink_share = sink_share(spec, head, {out.m, out.l});
}

struct SizeOfWeight {
  const RowWeights& row;
  double weight;
  double operator()(const Softmax&) const { return weight; }
  double operator()(const Sparsemax&) const { return weight > 0 ? 1 : 0; }
  double operator()(const Entmax15&) const { return 2 * std::sqrt(weight); }
  double operator()(const Sigmoid&) const { return weight; }
  double operator()(const Hard&) const { return weight; }
  double operator()(const LinearAttention&) const { return row.cancellation * (std::abs(weight) + row.largest); }
};

// For one key: g and its size, then the factor on its dP in D and the size of that factor.
struct Slope {
  double weight, share;  // share: the key's softmax weight; hard attention only
  const RowWeights& row;
  struct Answer {
    double g = 0, size = 0, part = 0, part_size = 0;
  };
  Answer operator()(const Softmax&) const { return same(weight); }
  Answer operator()(const Sparsemax&) const { return weight > 0 ? Answer{1, 1, 1 / row.slope_sum, 1 / row.slope_sum} : Answer{}; }
  Answer operator()(const Entmax15&) const {
    return weight > 0 ? Answer{std::sqrt(weight), 1, std::sqrt(weight) / row.slope_sum, 1 / row.slope_sum} : same(weight);
  }
  Answer operator()(const Sigmoid&) const { return {weight * (1 - weight), weight, 0, 0}; }
  Answer operator()(const Hard&) const { return same(share); }
  Answer operator()(const LinearAttention& linear) const {
    return row.l == 0 ? Answer{} : Answer{1 / row.l, row.cancellation / std::abs(row.l), weight, SizeOfWeight{row, weight}(linear)};
  }
  static Answer same(double g) { return {g, g, g, g}; }
};

// The score-function (REINFORCE) estimator: the gradient of the chosen weight times the gradient of the log-probability
// of the choice.
std::vector<Sum> reverse_choice(const RowWeights& row, const std::vector<double>& scores, const std::vector<Sum>& d_weights) {
  const size_t chosen = static_cast<size_t>(row.m);
  std::vector<Sum> d_scores(scores.size());
  for (size_t j = 0; j < scores.size(); ++j) {
    const double share = std::exp(scores[j] - scores[chosen] + row.l), slope = (j == chosen ? 1 : 0) - share;
    d_scores[j] = {slope * d_weights[chosen].value, (j == chosen ? 1 : share) * d_weights[chosen].size};
  }
  return d_scores;
}

}  // namespace

RowWeights normalise(const RowOfScores& at, const std::vector<double>& scores) {
  RowWeights out;
  out.weights.assign(scores.size(), 0);
  out.sees_any = std::any_of(scores.begin(), scores.end(), [](double score) { return score != kHidden; });
  out.m = out.sees_any ? 0 : kHidden;
  if (out.sees_any) std::visit(Normalise{at, scores, out}, at.spec.normaliser);
  fill_weights(at.spec, at.head, scores, out);
  return out;
}

float stored_l(const Normaliser& normaliser, double l) { return static_cast<float>(has_threshold(normaliser) ? -rounded_up(-l) : l); }

RecordedRow recorded_row(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row, LookPrecision precision) {
  const auto element = [&](const Tensor& rows) {
    return static_cast<double>(rows.data<float>()[batch * rows.stride(0) + head * rows.stride(1) + row * rows.stride(2)]);
  };
  const bool rounds = precision == LookPrecision::kAsUsed && record.rows.used.defined();
  return {element(record.rows.m), element(rounds ? record.rows.used : record.rows.l), rounds};
}

double weight_of(const Normaliser& normaliser, double score, int64_t key, const RecordedRow& row) {
  return std::visit(WeightOf{score, key, row}, normaliser);
}

RowWeights weights_of(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row, const std::vector<double>& scores) {
  const RecordedRow recorded = recorded_row(record, batch, head, row);
  RowWeights out;
  out.weights.assign(scores.size(), 0);
  out.m = recorded.m, out.l = recorded.l;
  out.sees_any = recorded.m != kHidden;
  fill_weights(record.spec, head, scores, out);
  return out;
}

double sink_share(const AttentionSpec& spec, int64_t head, const RecordedRow& row) {
  const auto sink = sink_of(spec, head);
  return sink ? std::exp2(*sink - row.m) / row.l : 0;
}

bool has_threshold(const Normaliser& normaliser) {
  return std::holds_alternative<Sparsemax>(normaliser) || std::holds_alternative<Entmax15>(normaliser);
}

bool leaves_zeros_out(const Normaliser& normaliser) {
  const bool reads_all = std::holds_alternative<Softmax>(normaliser) || std::holds_alternative<Sigmoid>(normaliser);
  return !reads_all && !std::holds_alternative<LinearAttention>(normaliser);
}

bool has_gradients_of_zeros(const Normaliser& normaliser) {
  const Hard* hard = std::get_if<Hard>(&normaliser);
  return hard && hard->gradient == Hard::Gradient::kStraightThrough;
}

double size_of_weight(const Normaliser& normaliser, const RowWeights& row, double weight) {
  return std::visit(SizeOfWeight{row, weight}, normaliser);
}

std::vector<Sum> reverse_weights(const Normaliser& normaliser, const RowWeights& row, const std::vector<double>& scores,
                                 const std::vector<Sum>& d_weights, Sum& mean) {
  const Hard* hard = std::get_if<Hard>(&normaliser);
  const auto share_of = [&](size_t j) { return hard ? std::exp(scores[j] - scores[static_cast<size_t>(row.m)] + row.l) : 0; };
  if (hard && std::isnan(row.m)) return std::vector<Sum>(scores.size(), {row.m, row.m});
  if (hard && hard->gradient == Hard::Gradient::kScoreFunction) return reverse_choice(row, scores, d_weights);
  std::vector<Slope::Answer> slopes(row.weights.size());
  for (size_t j = 0; j < slopes.size(); ++j) {
    if (scores[j] == kHidden) continue;
    slopes[j] = std::visit(Slope{row.weights[j], share_of(j), row}, normaliser);
    if (slopes[j].g == 0) continue;
    mean.add(slopes[j].part * d_weights[j].value, slopes[j].part_size * d_weights[j].size);
  }
  std::vector<Sum> d_scores(slopes.size());
  for (size_t j = 0; j < slopes.size(); ++j) {
    if (slopes[j].g == 0) continue;
    d_scores[j] = {slopes[j].g * (d_weights[j].value - mean.value), slopes[j].size * (d_weights[j].size + mean.size)};
  }
  return d_scores;
}

}  // namespace clearhead::reference
