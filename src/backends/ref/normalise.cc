#include "backends/ref/normalise.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "backends/ref/backward.h"

namespace clearhead::reference {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// max(a, b) that keeps a NaN of either.
double greater(double a, double b) { return std::isnan(a) || a > b ? a : b; }
double above(double a, double threshold) { return a <= threshold ? 0 : a - threshold; }

// The head's sink logit, natural units.
std::optional<double> sink_of(const AttentionSpec& spec, int64_t head) {
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  if (!softmax || !softmax->sinks) return std::nullopt;
  return static_cast<double>(softmax->sinks->data<float>()[head * softmax->sinks->stride(0)]);
}

// τ with Σ_j max(0, z_j − τ) = 1, or with Σ_j max(0, z_j − τ)² = 1: what the k largest alone would need, for the largest k whose smallest member lies
// above it. NaN and +∞ give NaN.
double threshold_of(std::vector<double> z, bool squared) {
  for (const double x : z) {
    if (!(x < std::numeric_limits<double>::infinity())) return std::numeric_limits<double>::quiet_NaN();
  }
  std::sort(z.begin(), z.end(), std::greater<>());
  const double top = z[0];
  double tau = 0, sum = 0, squares = 0;  // relative to the largest
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

struct Normalise {
  const AttentionSpec& spec;
  int64_t head;
  const std::vector<double>& scores;
  RowWeights& out;

  void operator()(const Softmax&) const {
    const auto sink = sink_of(spec, head);
    double shift = kHidden;
    for (const double score : scores) shift = greater(score * kLog2E, shift);
    if (sink) shift = greater(*sink * kLog2E, shift);
    out.m = static_cast<double>(static_cast<float>(shift));
    out.l = sink ? std::exp2(*sink * kLog2E - out.m) : 0;
    for (const double score : scores) out.l += score == kHidden ? 0 : std::exp2(score * kLog2E - out.m);
  }
  void operator()(const Sparsemax&) const {
    out.m = threshold_of(visible(1), /*squared=*/false);
    for (const double score : scores) out.l += std::isnan(out.m) ? out.m : score > out.m ? 1 : 0;
  }
  void operator()(const Entmax15&) const {
    out.m = threshold_of(visible(0.5), /*squared=*/true);
    for (const double score : scores) out.l += above(score / 2, out.m);
  }
  std::vector<double> visible(double factor) const {
    std::vector<double> z;
    for (const double score : scores) {
      if (score != kHidden) z.push_back(factor * score);
    }
    return z;
  }
};

struct WeightOf {
  double score;
  const RecordedRow& row;
  double operator()(const Softmax&) const { return std::exp2(score * kLog2E - row.m) / row.l; }
  double operator()(const Sparsemax&) const { return above(score, row.m); }
  double operator()(const Entmax15&) const {
    const double root = above(score / 2, row.m);
    return root * root;
  }
};

void fill_weights(const AttentionSpec& spec, int64_t head, const std::vector<double>& scores, RowWeights& out) {
  if (!out.sees_any) return;
  for (size_t j = 0; j < scores.size(); ++j) {
    if (scores[j] != kHidden) out.weights[j] = weight_of(spec.normaliser, scores[j], {out.m, out.l});
  }
  out.sink_share = sink_share(spec, head, {out.m, out.l});
}

// g of one key, its size, and what Σ g dP is divided by.
struct Slope {
  double weight, l;
  struct Answer {
    double g = 0, size = 0, divisor = 1;
  };
  Answer operator()(const Softmax&) const { return {weight, weight, 1}; }
  Answer operator()(const Sparsemax&) const { return weight > 0 ? Answer{1, 1, l} : Answer{0, 0, l}; }
  Answer operator()(const Entmax15&) const { return {std::sqrt(weight), weight > 0 ? 1.0 : 0.0, l}; }
};

struct SizeOfWeight {
  double weight;
  double operator()(const Softmax&) const { return weight; }
  double operator()(const Sparsemax&) const { return weight > 0 ? 1 : 0; }
  double operator()(const Entmax15&) const { return 2 * std::sqrt(weight); }
};

}  // namespace

RowWeights normalise(const AttentionSpec& spec, int64_t head, const std::vector<double>& scores) {
  RowWeights out;
  out.weights.assign(scores.size(), 0);
  out.sees_any = std::any_of(scores.begin(), scores.end(), [](double score) { return score != kHidden; });
  out.m = out.sees_any ? 0 : kHidden;
  if (out.sees_any) std::visit(Normalise{spec, head, scores, out}, spec.normaliser);
  fill_weights(spec, head, scores, out);
  return out;
}

float stored_m(const Normaliser& normaliser, double m) {
  const float near = static_cast<float>(m);
  const bool is_above = !std::holds_alternative<Softmax>(normaliser) && static_cast<double>(near) > m;
  return is_above ? std::nextafter(near, -std::numeric_limits<float>::infinity()) : near;
}

RecordedRow recorded_row(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row) {
  const auto element = [&](const Tensor& rows) {
    return static_cast<double>(rows.data<float>()[batch * rows.stride(0) + head * rows.stride(1) + row * rows.stride(2)]);
  };
  return {element(record.rows.m), element(record.rows.l)};
}

double weight_of(const Normaliser& normaliser, double score, const RecordedRow& row) {
  return std::visit(WeightOf{score, row}, normaliser);
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
  return sink ? std::exp2(*sink * kLog2E - row.m) / row.l : 0;
}

bool leaves_zeros_out(const Normaliser& normaliser) { return !std::holds_alternative<Softmax>(normaliser); }

double size_of_weight(const Normaliser& normaliser, double weight) { return std::visit(SizeOfWeight{weight}, normaliser); }

std::vector<Sum> reverse_weights(const Normaliser& normaliser, const RowWeights& row, const std::vector<Sum>& d_weights, Sum& mean) {
  std::vector<Slope::Answer> slopes(row.weights.size());
  for (size_t j = 0; j < slopes.size(); ++j) {
    slopes[j] = std::visit(Slope{row.weights[j], row.l}, normaliser);
    if (slopes[j].g == 0) continue;
    mean.add(slopes[j].g / slopes[j].divisor * d_weights[j].value, slopes[j].size / slopes[j].divisor * d_weights[j].size);
  }
  std::vector<Sum> d_scores(slopes.size());
  for (size_t j = 0; j < slopes.size(); ++j) {
    if (slopes[j].g == 0) continue;
    d_scores[j] = {slopes[j].g * (d_weights[j].value - mean.value), slopes[j].size * (d_weights[j].size + mean.size)};
  }
  return d_scores;
}

}  // namespace clearhead::reference
