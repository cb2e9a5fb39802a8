// The cookbook, page 1: scores. How q and k become scores, directly or after a transform, and the terms that modify scores.
//
//   s_ij = score(q_i, k_j), then each term in the order written
//
// Each entry expresses a mechanism of the literature as a description, and checks one of its properties with a line of
// arithmetic.
#include "mechanisms.h"

namespace {

constexpr int64_t kLength = 12, kWidth = 8;
constexpr int64_t i = 5;  // the query that is inspected

// --- pairs ------------------------------------------------------------------------------------------------------------------------------------

// Vaswani et al. 2017, eq. 1.
void dot_scaled() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v);
  const double error = off(scores(done, i), [&](int64_t j) { return dot(x.q, i, x.k, j) / std::sqrt(8.0); });
  show("dot, scaled", error < 2e-6, "s = q·k / √d: a row within %.0e", error);
}

// Luong, Pham & Manning 2015, §3.1, dot.
void dot_unscaled() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v, {.score = ch::Dot{1}});
  const double error = off(scores(done, i), [&](int64_t j) { return dot(x.q, i, x.k, j); });
  show("dot, unscaled", error < 2e-6, "s = q·k: a row within %.0e", error);
}

// x·W for every row x: a linear layer without bias.
ch::Tensor projected(const ch::Tensor& x, const ch::Tensor& w) {
  ch::Tensor out = ch::Tensor::zeros({1, 1, x.size(2), w.size(1)});
  for (int64_t row = 0; row < x.size(2); ++row) {
    for (int64_t b = 0; b < w.size(1); ++b) {
      double sum = 0;
      for (int64_t a = 0; a < w.size(0); ++a) sum += at(x, row, a) * at(w, a, b);
      out.mutable_data<float>()[row * w.size(1) + b] = static_cast<float>(sum);
    }
  }
  return out;
}

// Luong, Pham & Manning 2015, §3.1, general: the queries are multiplied by W first.
void bilinear() {
  const Tokens x;
  const ch::Tensor w = any(4, {kWidth, kWidth});
  const ch::Attended done = ch::attend(projected(x.q, w), x.k, x.v, {.score = ch::Dot{1}});
  const double error = off(scores(done, i), [&](int64_t j) {
    double s = 0;
    for (int64_t a = 0; a < kWidth; ++a) {
      for (int64_t b = 0; b < kWidth; ++b) s += at(x.q, i, a) * at(w, a, b) * at(x.k, j, b);
    }
    return s;
  });
  show("general (bilinear)", error < 5e-6, "s = q W k: a row within %.0e", error);
}

// Every row divided by its length.
ch::Tensor of_unit_length(const ch::Tensor& x) {
  ch::Tensor out = x.clone();
  for (int64_t row = 0; row < x.size(2); ++row) {
    for (int64_t c = 0; c < kWidth; ++c) out.mutable_data<float>()[row * kWidth + c] /= static_cast<float>(std::sqrt(dot(x, row, x, row)));
  }
  return out;
}

// Graves, Wayne & Danihelka 2014, eq. 6: β sharpens.
void cosine() {
  const Tokens x;
  const ch::Tensor q = of_unit_length(x.q), k = of_unit_length(x.k);
  const ch::Attended done = ch::attend(q, q, x.v, {.score = ch::Dot{3}}), other = ch::attend(q, k, x.v, {.score = ch::Dot{3}});
  const double self = scores(done, i)[i];
  const double error =
      off(scores(other, i), [&](int64_t j) { return 3 * dot(x.q, i, x.k, j) / std::sqrt(dot(x.q, i, x.q, i) * dot(x.k, j, x.k, j)); });
  show("cosine", near(self, 3) && error < 2e-6, "s = β·cos(q, k): a query against itself scores β = %.4f", self);
}

// Henry et al. 2020, eq. 4: g·q̂·k̂ with a learned g, here one per head. It is expressed as a temperature 1/g, which has a gradient.
void query_key_norm() {
  Tokens x{.heads = 2};
  x.q = of_unit_length(x.q), x.k = of_unit_length(x.k);
  const float g = 5;
  const ch::AttentionSpec spec{.score = ch::Dot{1}, .terms = {ch::temperature(ch::Tensor::from<float>({1 / g, 1}, {2}))}};
  const double error = off(scores(ch::attend(x.q, x.k, x.v, spec), i), [&](int64_t j) { return 5 * dot(x.q, i, x.k, j); });
  const Slope slope = slope_of("rule.table", x, spec);
  show("query-key norm", error < 2e-6 && slope.agrees(), "s = g·q̂·k̂, g of each head; ∂L/∂(1/g) = %.4f, by differences %.4f", slope.engine,
       slope.differences);
}

// Bahdanau, Cho & Bengio 2015, appendix A.1.2. q and k come projected: W s and U h.
void additive() {
  const Tokens x;
  const ch::Tensor v = any(4, {1, kWidth});
  const ch::AttentionSpec spec{.score = ch::Additive{.weight = v}};
  const double error = off(scores(ch::attend(x.q, x.k, x.v, spec), i), [&](int64_t j) {
    double s = 0;
    for (int64_t c = 0; c < kWidth; ++c) s += at(v, 0, c) * std::tanh(at(x.q, i, c) + at(x.k, j, c));
    return s;
  });
  const Slope slope = slope_of("additive.weight", x, spec);
  show("additive (Bahdanau)", error < 2e-6 && slope.agrees(), "s = v·tanh(q + k); ∂L/∂v = %.4f, by differences %.4f", slope.engine,
       slope.differences);
}

double leaky_relu(double x) { return x > 0 ? x : 0.2 * x; }

// Brody, Alon & Yahav 2022, eq. 7: a·LeakyReLU(W[h_i ‖ h_j]) with q = W_left h_i, k = W_right h_j.
void gatv2() {
  const Tokens x;
  const ch::Tensor a = any(4, {1, kWidth});
  const ch::Additive pair{.weight = a, .activation = ch::Additive::Activation::kLeakyRelu, .slope = 0.2F};
  const double error = off(scores(ch::attend(x.q, x.k, x.v, {.score = pair}), i), [&](int64_t j) {
    double s = 0;
    for (int64_t c = 0; c < kWidth; ++c) s += at(a, 0, c) * leaky_relu(at(x.q, i, c) + at(x.k, j, c));
    return s;
  });
  show("GATv2", error < 2e-6, "s = a·LeakyReLU(q + k): a row within %.0e", error);
}

// Veličković et al. 2018, eq. 3: LeakyReLU(a_i + b_j) over a node's neighbours. a_i + b_j = (a_i, 1)·(1, b_j).
void gat() {
  const Tokens x{.length = 4};
  const std::vector<double> a = {0.3, -0.9, 0.1, 0.7}, b = {-0.5, 0.4, -0.8, 0.2};
  std::vector<float> q, k;
  for (size_t node = 0; node < 4; ++node) {
    q.insert(q.end(), {static_cast<float>(a[node]), 1});
    k.insert(k.end(), {1, static_cast<float>(b[node])});
  }
  ch::AttentionSpec spec{.score = ch::Dot{1}, .terms = {ch::rule([](auto s, auto) { return max(s, 0.2F * s); })}};
  const auto edges = ch::Tensor::from<int32_t>({0, 1, 1, 2, 3, /*to*/ 1, 0, 2, 3, 3}, {2, 5});
  spec.topology.block_sparse = ch::graph(edges, /*queries=*/4).block_sparse;  // compressed sparse rows
  const ch::Attended done = ch::attend(ch::Tensor::from(q, {1, 1, 4, 2}), ch::Tensor::from(k, {1, 1, 4, 2}), x.v, spec);
  const double to_0 = std::exp(leaky_relu(a[1] + b[0])), to_2 = std::exp(leaky_relu(a[1] + b[2])), seen = weights(done, 1)[0];
  show("GAT on edges", near(seen, to_0 / (to_0 + to_2)), "node 1 → 0: %.4f = exp e₁₀ / (exp e₁₀ + exp e₁₂), e = LeakyReLU(a + b)", seen);
}

// --- relative positions -----------------------------------------------------------------------------------------------------------------------

// δ = clip(j − i, −reach, reach) + reach: the row of a table of offsets.
int64_t delta(int64_t query, int64_t j, int64_t reach) { return std::clamp(j - query, -reach, reach) + reach; }

// Shaw, Uszkoreit & Vaswani 2018, eq. 3 and 4: w^K is added to keys, w^V to values.
void shaw() {
  const Tokens x;
  const ch::Tensor of_keys = any(4, {1, 7, kWidth}), of_values = any(5, {1, 7, kWidth});  // reach 3
  const ch::AttentionSpec spec{.score = ch::Relative{.keys = of_keys, .values = of_values}};
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  const double error =
      off(scores(done, i), [&](int64_t j) { return (dot(x.q, i, x.k, j) + dot(x.q, i, of_keys, delta(i, j, 3))) / std::sqrt(8.0); });
  show("Shaw: keys", error < 2e-6, "s = q·(k + w^K[j − i]) / √d: a row within %.0e", error);
  double z = 0;
  const std::vector<double> p = weights(done, i);
  for (int64_t j = 0; j < kLength; ++j) z += p[static_cast<size_t>(j)] * (at(x.v, j, 0) + at(of_values, delta(i, j, 3), 0));
  const Slope slope = slope_of("relative.values", x, spec);
  show("Shaw: values", near(z, at(done.out, i, 0)) && slope.agrees(),
       "out = Σ P (v + w^V[j − i]) = %.4f; ∂L/∂w^V = %.4f, by differences %.4f", z, slope.engine, slope.differences);
}

// Transformer-XL (Dai et al. 2019, §3.3): (q + u)·k + (q + v)·r, four terms. The queries of the call are q + u; `query_bias` adds v − u to
// them where they are multiplied by r.
void transformer_xl() {
  const Tokens x;
  const ch::Tensor u = any(4, {1, kWidth}), v = any(5, {1, kWidth}), r = any(6, {1, 2 * kLength - 1, kWidth});  // W_kR R of j − i
  ch::Tensor q = x.q.clone(), rest = v.clone();
  for (int64_t n = 0; n < q.numel(); ++n) q.mutable_data<float>()[n] += u.data<float>()[n % kWidth];
  for (int64_t c = 0; c < kWidth; ++c) rest.mutable_data<float>()[c] -= u.data<float>()[c];
  const ch::Attended done = ch::attend(q, x.k, x.v, {.score = ch::Relative{.scale = 1, .keys = r, .query_bias = rest}});
  const double error = off(scores(done, i), [&](int64_t j) {
    const int64_t distance = delta(i, j, kLength - 1);
    return dot(x.q, i, x.k, j) + dot(x.q, i, r, distance) + dot(u, 0, x.k, j) + dot(v, 0, r, distance);
  });
  show("Transformer-XL", error < 5e-6, "s = q·k + q·r + u·k + v·r: a row within %.0e", error);
}

// DeBERTa (He et al. 2021, eq. 4): content to position by K^r, position to content by Q^r.
void deberta() {
  const Tokens x;
  const ch::Tensor key_r = any(4, {1, 9, kWidth}), query_r = any(5, {1, 9, kWidth});  // reach 4, rows by j − i
  const float scale = 1 / std::sqrt(3.0F * kWidth);
  const ch::AttentionSpec spec{.score = ch::Relative{.scale = scale, .keys = key_r, .queries = query_r}};
  const double error = off(scores(ch::attend(x.q, x.k, x.v, spec), i), [&](int64_t j) {
    const int64_t row = delta(i, j, 4);
    return (dot(x.q, i, x.k, j) + dot(x.q, i, key_r, row) + dot(x.k, j, query_r, row)) / std::sqrt(24.0);
  });
  const Slope slope = slope_of("relative.queries", x, spec);
  show("DeBERTa, both ways", error < 2e-6 && slope.agrees(), "s = (q·k + q·K^r + k·Q^r) / √3d; ∂L/∂Q^r = %.4f, by differences %.4f",
       slope.engine, slope.differences);
}

// --- features: φ(q)·φ(k) in place of exp(q·k / √d) --------------------------------------------------------------------------------------------

// Katharopoulos et al. 2020, eq. 4 and 7: no row of weights is needed, only the sums Σ φ(k) vᵀ and Σ φ(k).
void elu_features() {
  const Tokens x;
  const ch::Tensor q = ch::elu_plus_one(x.q), k = ch::elu_plus_one(x.k);
  const ch::Attended done = ch::attend(q, k, x.v, {.normaliser = ch::LinearAttention{}});
  double above = 0, below = 0;
  for (int64_t c = 0; c < kWidth; ++c) {
    double kv = 0, sum_k = 0;
    for (int64_t j = 0; j < kLength; ++j) kv += at(k, j, c) * at(x.v, j, 0), sum_k += at(k, j, c);
    above += at(q, i, c) * kv, below += at(q, i, c) * sum_k;
  }
  const double seen = at(done.out, i, 0);
  show("elu + 1", near(seen, above / below), "out = φ(q)·Σ φ(k)v / φ(q)·Σ φ(k) = %.4f", seen);
}

// Choromanski et al. 2021, lemma 1: unbiased for exp(q·k / √d), so that linear attention over them is softmax up to noise.
void random_features() {
  const Tokens x;
  const ch::Tensor w = ch::orthogonal_projection(/*features=*/2048, kWidth, /*seed=*/7);
  const ch::Tensor q = ch::positive_random_features(x.q, w, ch::FeatureShift::kEachRow);
  const ch::Tensor k = ch::positive_random_features(x.k, w, ch::FeatureShift::kAllRows);
  const std::vector<double> softmax = weights(ch::attend(x.q, x.k, x.v), i),
                            linear = weights(ch::attend(q, k, x.v, {.normaliser = ch::LinearAttention{}}), i);
  const double error = off(linear, [&](int64_t j) { return softmax[static_cast<size_t>(j)]; });
  show("positive random features", error < 0.012 && error > 0, "2,048 of them: weights of softmax within %.3f (the largest is %.3f)", error,
       *std::max_element(softmax.begin(), softmax.end()));
}

// --- terms ------------------------------------------------------------------------------------------------------------------------------------

// Press et al. 2022, §3. All keys are equal here, so the weights depend only on the distance.
void alibi() {
  const Tokens x{.k = ch::Tensor::zeros({1, 1, kLength, kWidth})};
  const ch::AttentionSpec spec{.terms = {ch::Alibi{ch::Tensor::from<float>({0.5F}, {1})}}, .topology = ch::causal()};
  const std::vector<double> p = weights(ch::attend(x.q, x.k, x.v, spec), i);
  const Slope slope = slope_of("slopes", x, spec);
  show("ALiBi", near(p[3] / p[4], std::exp(-0.5)) && slope.agrees(),
       "a step farther: %.4f of the weight, exp(−slope); ∂L/∂slope = %.4f, by differences %.4f", p[3] / p[4], slope.engine,
       slope.differences);
}

// Raffel et al. 2020, §2.1: each small distance has its own bucket, large distances share buckets; the encoder distinguishes keys before
// and after. T5 does not scale.
void t5_encoder() {
  const Tokens x{.length = 300, .k = ch::Tensor::zeros({1, 1, 300, kWidth})};
  const ch::AttentionSpec spec{.score = ch::Dot{1}, .terms = {ch::t5_bias(any(4, {32, 1}), /*bidirectional=*/true)}};
  const std::vector<double> s = scores(ch::attend(x.q, x.k, x.v, spec), 150);
  show("T5, both directions", s[280] == s[299] && s[153] != s[154] && s[153] != s[147],
       "keys 130 and 149 after: %.3f, %.3f; 3 and 4 after: %.3f, %.3f; 3 before: %.3f", s[280], s[299], s[153], s[154], s[147]);
}

// The same for a decoder: all buckets are for keys before the query.
void t5_decoder() {
  const Tokens x{.length = 300, .k = ch::Tensor::zeros({1, 1, 300, kWidth})};
  const ch::Tensor w = any(4, {32, 1});
  const ch::AttentionSpec spec{.score = ch::Dot{1}, .terms = {ch::t5_bias(w, /*bidirectional=*/false)}, .topology = ch::causal()};
  const std::vector<double> s = scores(ch::attend(x.q, x.k, x.v, spec), 299);
  const Slope slope = slope_of("rule.table2", x, spec);  // the first table is the buckets
  show("T5, causal", near(s[286], at(w, 13, 0)) && s[0] == s[100] && slope.agrees(),
       "13 before: w[13] = %.3f; 199 and 299 before: %.3f; ∂L/∂w = %.4f, by differences %.4f", s[286], s[100], slope.engine,
       slope.differences);
}

// A bias for every pair; −∞ hides the pair (Jumper et al. 2021, supplement, algorithm 7: a bias from pairs of residues).
void dense_bias() {
  const Tokens x;
  ch::Tensor bias = any(4, {1, 1, kLength, kLength});
  bias.mutable_data<float>()[i * kLength + 2] = -INFINITY;
  const ch::AttentionSpec spec{.terms = {ch::AttentionBias{bias}}};
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  const double added = scores(done, i)[3] - dot(x.q, i, x.k, 3) / std::sqrt(8.0);
  const Slope slope = slope_of("bias", x, spec);
  show("dense bias", near(added, at(bias, i, 3)) && weights(done, i)[2] == 0 && slope.agrees(),
       "adds %.4f; −∞ leaves weight 0; ∂L/∂bias = %.4f, by differences %.4f", added, slope.engine, slope.differences);
}

// Features of edges (Ying et al. 2021, eq. 7: Graphormer adds them to scores): one number per edge.
void per_edge_bias() {
  const Tokens x;
  const ch::Graph edges = ch::graph(ch::Tensor::from<int32_t>({5, 5, 5, 0, /*to*/ 9, 1, 4, 0}, {2, 4}), kLength);
  const std::vector<float> feature = {0.9F, -0.4F, 0.2F, 0};  // of the edges, as they were given
  std::vector<float> bias;
  for (const int32_t edge : edges.order) bias.push_back(feature[static_cast<size_t>(edge)]);
  const ch::AttentionSpec spec{.terms = {ch::EdgeBias{ch::Tensor::from(bias, {1, 1, 4})}},
                               .topology = {.block_sparse = edges.block_sparse}};
  const double added = scores(ch::attend(x.q, x.k, x.v, spec), i)[9] - dot(x.q, i, x.k, 9) / std::sqrt(8.0);
  const Slope slope = slope_of("edges", x, spec);
  show("per-edge bias", near(added, 0.9) && slope.agrees(), "edge 5 → 9 adds %.4f; ∂L/∂bias = %.4f, by differences %.4f", added,
       slope.engine, slope.differences);
}

// Gemma 2, 2024, §2.
void soft_cap() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v, {.score = ch::Dot{100}, .terms = {ch::SoftCap{30}}});
  const std::vector<double> s = scores(done, i);
  const double error = off(s, [&](int64_t j) { return 30 * std::tanh(100 * dot(x.q, i, x.k, j) / 30); });
  const double largest = std::abs(*std::max_element(s.begin(), s.end(), [](double a, double b) { return std::abs(a) < std::abs(b); }));
  show("soft-cap", error < 1e-4 && largest <= 30, "cap·tanh(s / cap): no score of the row is beyond %.3f, cap is 30", largest);
}

// Hinton et al. 2015, eq. 1: dividing scores by t takes the t-th root of every ratio of weights.
void temperature() {
  const Tokens x;
  const std::vector<double> p = weights(ch::attend(x.q, x.k, x.v), i),
                            soft = weights(ch::attend(x.q, x.k, x.v, {.terms = {ch::temperature(2)}}), i);
  show("temperature", near(soft[0] / soft[1], std::sqrt(p[0] / p[1]), 1e-5), "at t = 2 a ratio of weights is its root: %.4f = √%.4f",
       soft[0] / soft[1], p[0] / p[1]);
}

// Liu et al. 2021 (Swin), eq. 4: patches displaced alike share a bias. An image of 3 × 4 patches, read row by row.
void relative_2d() {
  const Tokens x{.k = ch::Tensor::zeros({1, 1, kLength, kWidth})};
  const ch::AttentionSpec spec{.terms = {ch::relative_2d(any(4, {1, 5, 7}), /*height=*/3, /*width=*/4)}};
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  const double one = scores(done, 0)[5], other = scores(done, 6)[11];  // both one down, one to the right
  const Slope slope = slope_of("rule.table", x, spec);
  show("2-D relative", one == other && one != scores(done, 0)[4] && slope.agrees(),
       "one down, one right: %.4f wherever it starts; ∂L/∂B = %.4f, by differences %.4f", one, slope.engine, slope.differences);
}

// Fuller et al. 2023, §3: by the distance in the plane.
void alibi_2d() {
  const Tokens x{.length = 20, .k = ch::Tensor::zeros({1, 1, 20, kWidth})};
  const ch::AttentionSpec spec{.terms = {ch::alibi_2d(ch::Tensor::from<float>({0.25F}, {1}), /*width=*/5)}};
  const double seen = scores(ch::attend(x.q, x.k, x.v, spec), 0)[19];
  show("2-D ALiBi", near(seen, -0.25 * 5), "4 right, 3 down is 5 away: s − slope·5 = %.4f", seen);
}

// A user-defined term: a lambda that is recorded once as data. Its tables are parameters.
void own_rule() {
  const Tokens x{.heads = 2};
  const auto decay = ch::table(ch::Tensor::from<float>({0.7F, 0.1F}, {2}));  // one number per head
  const ch::AttentionSpec spec{.terms = {ch::rule([&](auto s, auto at) { return s - decay(at.head) * log(1 + abs(at.query - at.key)); })}};
  const double error = off(scores(ch::attend(x.q, x.k, x.v, spec), i), [&](int64_t j) {
    return dot(x.q, i, x.k, j) / std::sqrt(8.0) - 0.7 * std::log(1 + std::abs(static_cast<double>(i - j)));
  });
  const Slope slope = slope_of("rule.table", x, spec);
  show("own rule", error < 2e-6 && slope.agrees(), "s − a·ln(1 + |i − j|); ∂L/∂a = %.4f, by differences %.4f", slope.engine,
       slope.differences);
}

}  // namespace

int main() {
  std::puts("Pairs: what q and k give");
  for (const auto entry : {dot_scaled, dot_unscaled, bilinear, cosine, query_key_norm, additive, gatv2, gat}) entry();
  std::puts("Relative positions");
  for (const auto entry : {shaw, transformer_xl, deberta}) entry();
  std::puts("Features");
  for (const auto entry : {elu_features, random_features}) entry();
  std::puts("Terms: what is done to a score");
  for (const auto entry :
       {alibi, t5_encoder, t5_decoder, dense_bias, per_edge_bias, soft_cap, temperature, relative_2d, alibi_2d, own_rule})
    entry();
  return verdict();
}
