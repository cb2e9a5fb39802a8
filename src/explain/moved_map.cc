// Moves one row of one attention by numbers that are added to its scores (Interventions::Scores).
#include "explain/moved_map.h"

#include <algorithm>
#include <cmath>
#include <variant>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "explain/listener.h"

namespace clearhead::explain {
namespace {

constexpr double kRate = 0.5, kFirst = 0.9, kSecond = 0.999, kTiny = 1e-8;  // parameters of Adam
constexpr double kStrength = 20;                                            // strength of the penalty; JS is at most ln 2
constexpr double kSpread = 1;                                               // standard deviation of the random initial b

using Heads = std::vector<std::vector<double>>;  // [head][key]

bool is_same(const Site& a, const Site& b) { return a.family == b.family && a.layer == b.layer; }

// Records the row's weights P in every head and, from the backward pass, ∂(ln p)/∂P for the answer's probability p.
class Row final : public Listener {
 public:
  explicit Row(Site site, int64_t query) : site_(std::move(site)), query_(query) {}
  bool wants_gradient(const Site& site) override { return is_same(site, site_); }
  void take_gradient(const Site&, const AttentionRecord& record, const OutputGradient& of_output) override {
    const AttentionMap map(record);
    const GradientMap gradients(record, of_output, GradientLook::kGradient);
    if (!std::holds_alternative<Softmax>(record.spec.normaliser))
      fail(ErrorCode::kUnsupported, "moved maps: this attention is not softmax, so adding numbers to its scores has no meaning");
    is_only_ = record.query_length == 1;
    const int64_t query = is_only_ ? 0 : query_;
    weights.clear();
    gradient.clear();
    for (int64_t head = 0; head < record.shape().heads; ++head) {
      const MapRow row = map.head(0, head).row(query);
      weights.emplace_back(row.weights().begin(), row.weights().end());
      const std::vector<float> of_head = gradients.row(0, head, query);
      gradient.emplace_back(of_head.begin(), of_head.end());
    }
  }
  Heads weights{}, gradient{};
  bool is_only() const { return is_only_; }

 private:
  Site site_;
  int64_t query_;
  bool is_only_ = false;
};

// x ln(2x/(x + y)), 0 at x = 0.
double part(double x, double y) { return x > 0 ? x * std::log(2 * x / (x + y)) : 0; }

double divergence(const Heads& p, const Heads& q) {
  double sum = 0;
  for (size_t head = 0; head < p.size(); ++head) {
    for (size_t key = 0; key < p[head].size(); ++key) sum += part(p[head][key], q[head][key]) + part(q[head][key], p[head][key]);
  }
  return sum / 2 / static_cast<double>(p.size());
}

class Search {
 public:
  Search(const AttributionTarget& target, const MovedMapOptions& options) : target_(target), options_(options) {
    (void)target.answer_id("moving a map");
    out_.site = looked_at(target, options.layer);
    out_.probability = target.probability();
  }

  MovedMap found() {
    const Row own = pass({});
    own_ = own.weights;
    is_only_ = own.is_only();
    const auto heads = static_cast<int64_t>(own_.size()), keys = static_cast<int64_t>(own_.front().size());
    out_.kept = out_.probability;
    out_.before = out_.after = mean_of(own_);
    out_.scores = scores(Tensor::zeros({heads, keys}), false);
    out_.uniform = target_.run(nullptr, {.scores = {scores(Tensor::zeros({heads, keys}), true)}}).probability;
    Tensor added = Tensor::empty({heads, keys});
    float* b = added.mutable_data<float>();
    const int64_t count = heads * keys;
    for (int64_t i = 0; i < count; ++i) b[i] = static_cast<float>(kSpread * random_normal(options_.seed, static_cast<uint64_t>(i)));
    std::vector<double> mean(static_cast<size_t>(count)), square(mean);
    for (int64_t step = 1; step <= options_.steps; ++step) {
      if (options_.cancel && options_.cancel->load()) fail(ErrorCode::kCancelled, "moved maps: cancelled");
      const Interventions::Scores moving = scores(added.clone(), false);
      const Row row = pass({.scores = {moving}});
      consider(row, moving);
      const Heads ascent = gradient_of(row);
      for (int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(i);
        const double g = ascent[static_cast<size_t>(i / keys)][static_cast<size_t>(i % keys)];
        mean[at] = kFirst * mean[at] + (1 - kFirst) * g;
        square[at] = kSecond * square[at] + (1 - kSecond) * g * g;
        const double m = mean[at] / (1 - std::pow(kFirst, static_cast<double>(step))),
                     v = square[at] / (1 - std::pow(kSecond, static_cast<double>(step)));
        b[i] += static_cast<float>(kRate * m / (std::sqrt(v) + kTiny));
      }
    }
    return out_;
  }

 private:
  Interventions::Scores scores(Tensor added, bool replaces) const {
    const auto query = is_only_ ? std::nullopt : std::optional(target_.rows().front());
    return {.layer = out_.site.layer, .family = out_.site.family, .query = query, .added = std::move(added), .replaces = replaces};
  }

  Row pass(const Interventions& interventions) {
    Row row(out_.site, target_.rows().front());
    InputTape tape;
    probability_ = std::exp(target_.differentiate(tape, &row, interventions, AttributionTarget::Number::kLogProbability));
    if (row.weights.empty())
      fail(ErrorCode::kUnsupported, "moved maps: the answer does not depend on the attention of layer {}", out_.site.layer);
    return row;
  }

  void consider(const Row& row, const Interventions::Scores& by) {
    const double moved = divergence(own_, row.weights);
    if (std::fabs(probability_ - out_.probability) > options_.tolerance || moved <= out_.moved) return;
    out_.moved = moved;
    out_.kept = probability_;
    out_.scores = by;
    out_.after = mean_of(row.weights);
  }

  // The gradient of the objective: ∂/∂b = P̃ ⊙ (x − Σ P̃ x) with x = ∂/∂P̃.
  Heads gradient_of(const Row& row) const {
    const double off = probability_ - out_.probability;
    const double penalty = std::fabs(off) > options_.tolerance ? (off > 0 ? kStrength : -kStrength) * probability_ : 0;
    Heads out = row.weights;
    for (size_t head = 0; head < out.size(); ++head) {
      const std::vector<double>&moved = row.weights[head], &own = own_[head];
      std::vector<double> x(moved.size());
      double mean = 0;
      for (size_t key = 0; key < x.size(); ++key) {
        const double sum = moved[key] + own[key];
        const double of_divergence = moved[key] > 0 ? std::log(2 * moved[key] / sum) / 2 / static_cast<double>(out.size()) : 0;
        x[key] = of_divergence - penalty * row.gradient[head][key];
        mean += moved[key] * x[key];
      }
      for (size_t key = 0; key < x.size(); ++key) out[head][key] = moved[key] * (x[key] - mean);
    }
    return out;
  }

  static std::vector<float> mean_of(const Heads& heads) {
    std::vector<float> out(heads.front().size());
    for (const std::vector<double>& head : heads) {
      for (size_t key = 0; key < out.size(); ++key) out[key] += static_cast<float>(head[key] / static_cast<double>(heads.size()));
    }
    return out;
  }

  const AttributionTarget& target_;
  const MovedMapOptions& options_;
  MovedMap out_{};
  Heads own_{};
  double probability_ = 0;
  bool is_only_ = false;  // whether the row is the only one of its call
};

}  // namespace

MovedMap furthest_map(const AttributionTarget& target, const MovedMapOptions& options) { return Search(target, options).found(); }

}  // namespace clearhead::explain
