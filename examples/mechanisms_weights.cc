// The cookbook, page 3: weights. How scores become weights (the normaliser), what is applied to weights afterwards, and
// the precision in which a map shows them.
//
//   P_i = normaliser(s_i)          out_i = Σ_j P_ij a_ij v_j
#include "mechanisms.h"

namespace {

constexpr int64_t i = 5;  // the query that is inspected

// --- normalisers ------------------------------------------------------------------------------------------------------------------------------

// Vaswani et al. 2017, eq. 1.
void softmax() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v);
  const std::vector<double> s = scores(done, i), p = weights(done, i);
  const double shift = s[3] - std::log(p[3]);  // ln Σ exp s, the same for every key
  show("softmax", near(sum(p), 1) && off(p, [&](int64_t j) { return std::exp(s[static_cast<size_t>(j)] - shift); }) < 1e-6,
       "exp(s) / Σ exp(s): the row sums to %.6f", sum(p));
}

// An extra logit that receives weight and has no value (gpt-oss, OpenAI 2025; a first token that learns to do this: Xiao et al. 2024).
void sinks() {
  const Tokens x;
  const ch::AttentionSpec spec{.normaliser = ch::Softmax{.sinks = ch::Tensor::from<float>({2}, {1})}};
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  double of_keys = 0;
  for (const double s : scores(done, i)) of_keys += std::exp(s);
  const double left = sum(weights(done, i));
  const Slope slope = slope_of("sinks", x, spec);
  show("sink logit", near(left, of_keys / (of_keys + std::exp(2.0))) && slope.agrees(),
       "the row sums to %.4f, the sink has the rest; ∂L/∂sink = %.4f, by differences %.4f", left, slope.engine, slope.differences);
}

// Martins & Astudillo 2016, proposition 1.
void sparsemax() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v, {.score = ch::Dot{1}, .normaliser = ch::Sparsemax{}});
  const std::vector<double> s = scores(done, i), p = weights(done, i);
  const size_t best = static_cast<size_t>(std::max_element(s.begin(), s.end()) - s.begin());
  const double tau = s[best] - p[best];
  const bool holds = off(p, [&](int64_t j) { return std::max(0.0, s[static_cast<size_t>(j)] - tau); }) < 2e-6;
  show("sparsemax", holds && near(sum(p), 1) && std::count(p.begin(), p.end(), 0) > 0,
       "max(0, s − τ), τ = %.4f: %d of 12 weights are exactly 0", tau, static_cast<int>(std::count(p.begin(), p.end(), 0)));
}

// Peters, Niculae & Martins 2019, §3.2.
void entmax15() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v, {.score = ch::Dot{2}, .normaliser = ch::Entmax15{}});
  const std::vector<double> s = scores(done, i), p = weights(done, i);
  const size_t best = static_cast<size_t>(std::max_element(s.begin(), s.end()) - s.begin());
  const double tau = s[best] / 2 - std::sqrt(p[best]);
  const bool holds = off(p, [&](int64_t j) { return std::pow(std::max(0.0, s[static_cast<size_t>(j)] / 2 - tau), 2); }) < 2e-6;
  show("entmax-1.5", holds && near(sum(p), 1) && std::count(p.begin(), p.end(), 0) > 0,
       "max(0, s / 2 − τ)², τ = %.4f: %d of 12 weights are exactly 0", tau, static_cast<int>(std::count(p.begin(), p.end(), 0)));
}

// Xu et al. 2015, §4.1: the key with the highest score; the gradient is that of softmax (straight-through: Bengio, Léonard & Courville
// 2013, §4).
void hard_argmax() {
  const Tokens x;
  const ch::Attended hard = ch::attend(x.q, x.k, x.v, {.normaliser = ch::Hard{}}), soft = ch::attend(x.q, x.k, x.v);
  const std::vector<double> s = scores(hard, i), p = weights(hard, i);
  const size_t best = static_cast<size_t>(std::max_element(s.begin(), s.end()) - s.begin());
  const ch::Tensor d_out = any(4, hard.out.shape());
  const double slope = at(ch::attend_gradients(hard.record, x.v, hard.out, d_out).q, i, 0);
  const double of_softmax = at(ch::attend_gradients(soft.record, x.v, soft.out, d_out).q, i, 0);
  show("hard, argmax", p[best] == 1 && sum(p) == 1 && near(slope, of_softmax),
       "key %d has all the weight; ∂L/∂q = %.4f, as the softmax's %.4f", static_cast<int>(best), slope, of_softmax);
}

// Xu et al. 2015, eq. 11: one key drawn from the softmax; the gradient is that of the log-probability of the drawn key, times its reward.
void hard_sampled() {
  const ch::Tensor one = any(1, {1, 1, 1, 8});  // one query, repeated 4,000 times
  const Tokens x{.length = 4000, .q = one.expand({1, 1, 4000, 8}), .k = any(2, {1, 1, 3, 8}), .v = any(3, {1, 1, 3, 8})};
  const ch::Hard drawn{.choice = ch::Hard::Choice::kSampled, .gradient = ch::Hard::Gradient::kScoreFunction, .seed = 7};
  const ch::Attended hard = ch::attend(x.q, x.k, x.v, {.normaliser = drawn});
  const std::vector<double> p = weights(ch::attend(x.q, x.k, x.v), i), chosen = weights(hard, i);
  double times = 0;
  for (int64_t query = 0; query < x.length; ++query) times += weights(hard, query)[0];
  const ch::Tensor d_out = any(6, hard.out.shape());
  const double slope = at(ch::attend_gradients(hard.record, x.v, hard.out, d_out).q, i, 2), earned = dot(hard.out, i, d_out, i);
  double expected = 0;  // Σ_j reward·(1[j is chosen] − p_j)·∂s_j/∂q
  for (size_t j = 0; j < 3; ++j) expected += earned * (chosen[j] - p[j]) * at(x.k, static_cast<int64_t>(j), 2) / std::sqrt(8.0);
  show("hard, sampled", near(times / 4000, p[0], 0.03) && near(slope, expected),
       "key 0 drawn in %.3f of 4,000, softmax says %.3f; ∂L/∂q = %.4f, by the formula %.4f", times / 4000, p[0], slope, expected);
}

// Ramapuram et al. 2024, eq. 3: each pair independently; the bias is −ln of the number of keys.
void sigmoid() {
  const Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v, {.normaliser = ch::Sigmoid{-std::log(12.0F)}});
  const std::vector<double> s = scores(done, i), p = weights(done, i);
  const double error = off(p, [&](int64_t j) { return 1 / (1 + 12 * std::exp(-s[static_cast<size_t>(j)])); });
  show("sigmoid", error < 1e-6, "1 / (1 + exp(−s − b)): the row sums to %.4f, which need not be 1", sum(p));
}

// Katharopoulos et al. 2020, eq. 8–9: causal, with two running sums along the sequence.
void linear_causal() {
  const Tokens x;
  const ch::Tensor q = ch::elu_plus_one(x.q), k = ch::elu_plus_one(x.k);
  const ch::Attended done = ch::attend(q, k, x.v, {.topology = ch::causal(), .normaliser = ch::LinearAttention{}});
  std::vector<double> kv(8, 0), sum_k(8, 0);
  double farthest = 0;
  for (int64_t step = 0; step < x.length; ++step) {
    double above = 0, below = 0;
    for (int64_t c = 0; c < 8; ++c) {
      kv[static_cast<size_t>(c)] += at(k, step, c) * at(x.v, step, 0), sum_k[static_cast<size_t>(c)] += at(k, step, c);
      above += at(q, step, c) * kv[static_cast<size_t>(c)], below += at(q, step, c) * sum_k[static_cast<size_t>(c)];
    }
    farthest = std::max(farthest, std::abs(above / below - at(done.out, step, 0)));
  }
  show("linear, causal", farthest < 2e-6, "by running sums of φ(k)v and φ(k): every step within %.0e", farthest);
}

// --- after the normaliser ---------------------------------------------------------------------------------------------------------------------

// Srivastava et al. 2014, §10. The map shows the weights before dropout; map.after() those that multiply the values.
void dropout() {
  const Tokens x{.length = 1000};
  ch::AttentionSpec spec;
  spec.after.dropout = ch::Dropout{.rate = 0.25F, .seed = 7};
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  const std::vector<double> p = weights(done, i);
  const std::vector<float> met = ch::AttentionMap(done.record).after().head(0, 0).row(i).weights();
  bool holds = true;
  for (size_t j = 0; j < 1000; ++j) holds = holds && (met[j] == 0 || near(static_cast<double>(met[j]) / p[j], 1 / 0.75));
  const auto dropped = std::count(met.begin(), met.end(), 0.0F);
  show("dropout", holds && dropped > 200 && dropped < 300, "rate 0.25: %d of 1,000 weights are 0, the others times 1 / (1 − rate)",
       static_cast<int>(dropped));
}

// Michel, Levy & Neubig 2019, eq. 2: ξ_h, 0 to prune a head. Its gradient measures the importance of the head.
void head_mask() {
  const Tokens x{.heads = 2};
  ch::AttentionSpec spec;
  spec.after.head_mask = ch::Tensor::from<float>({0.5F, 0}, {2});
  const ch::Tensor out = ch::attend(x.q, x.k, x.v, spec).out, whole = ch::attend(x.q, x.k, x.v).out;
  const Slope slope = slope_of("head_mask", x, spec);
  show("head mask", near(at(out, i, 1), at(whole, i, 1) / 2) && out.data<float>()[12 * 8 + 3] == 0 && slope.agrees(),
       "ξ = (0.5, 0): %.4f of %.4f, and %.0f of head 1; ∂L/∂ξ = %.4f, by differences %.4f", at(out, i, 1), at(whole, i, 1),
       std::abs(static_cast<double>(out.data<float>()[12 * 8 + 3])), slope.engine, slope.differences);
}

// Luong, Pham & Manning 2015, §3.2, eq. 10, local-p: a window of D around a predicted centre, and a Gaussian in it with σ = D / 2.
void local_p() {
  const Tokens x;
  const ch::Tensor centres = ch::Tensor::from<float>({0.4F, 3, 2.5F, 7, 1, 6.3F, 6, 2, 8.2F, 9, 5, 11}, {1, 1, 12});
  const ch::AttentionSpec spec = ch::local_p(centres, /*reach=*/4);
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  const std::vector<double> p = weights(done, i);
  const double factor = static_cast<double>(ch::AttentionMap(done.record).after().head(0, 0).row(i).weights()[9]) / p[9];
  const Slope slope = slope_of("centres", x, spec);
  show("Gaussian, local-p",
       near(factor, std::exp(-std::pow(9 - 6.3, 2) / 8)) && p[2] == 0 && p[3] > 0 && p[10] > 0 && p[11] == 0 && slope.agrees(),
       "centre 6.3: key 9 times %.4f, keys 3 to 10 seen; ∂L/∂centre = %.4f, by differences %.4f", factor, slope.engine, slope.differences);
}

// --- precision --------------------------------------------------------------------------------------------------------------------------------

// q, k and v in bf16. Kernels that multiply bf16 also round the weights: a map shows them exact, or as they were used (docs/NUMERICS.md).
void as_used() {
  const Tokens x{.length = 64, .q = any(1, {1, 1, 64, 32}), .k = any(2, {1, 1, 64, 32}), .v = any(3, {1, 1, 64, 32})};
  const ch::Attended done =
      ch::attend(ch::to_dtype(x.q, ch::DType::kBF16), ch::to_dtype(x.k, ch::DType::kBF16), ch::to_dtype(x.v, ch::DType::kBF16));
  const std::vector<double> exact = weights(done, i);
  const std::vector<float> used = ch::AttentionMap(done.record).with(ch::LookPrecision::kAsUsed).head(0, 0).row(i).weights();
  double farthest = 0;
  for (size_t j = 0; j < exact.size(); ++j) farthest = std::max(farthest, std::abs(static_cast<double>(used[j]) / exact[j] - 1));
  const bool rounds = done.record.rows.used.defined();  // this machine's kernel
  show("bf16, as used", rounds ? farthest > 1e-5 && farthest <= 0x1.02p-7 : farthest == 0,
       "weights as used are within %.1e of the exact ones%s", farthest,
       rounds ? ": at most 2⁻⁸ of a weight, 2⁻⁸ of the sum" : ": this machine widens to f32");
}

}  // namespace

int main() {
  std::puts("Normalisers");
  for (const auto entry : {softmax, sinks, sparsemax, entmax15, hard_argmax, hard_sampled, sigmoid, linear_causal}) entry();
  std::puts("After");
  for (const auto entry : {dropout, head_mask, local_p}) entry();
  std::puts("LookPrecision");
  as_used();
  return verdict();
}
