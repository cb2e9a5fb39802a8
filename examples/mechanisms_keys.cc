// The cookbook, page 4: keys and interventions.
//
// KV caches that grow, slide and share pages; keys from another sequence or an earlier segment; interventions; and the
// gradients of q, k and v.
#include "mechanisms.h"

namespace {

double farthest_between(const ch::Tensor& a, const ch::Tensor& b) {
  double farthest = 0;
  for (int64_t n = 0; n < a.numel(); ++n)
    farthest = std::max(farthest, std::abs(static_cast<double>(a.data<float>()[n]) - static_cast<double>(b.data<float>()[n])));
  return farthest;
}
ch::Tensor row_of(const ch::Tensor& t, int64_t i) { return t.slice(2, i, i + 1); }

// --- pages ------------------------------------------------------------------------------------------------------------------------------------

// A decoder appends the key and value of a token, then attends. Each step equals the corresponding row of the prefill.
void growing() {
  const Tokens x{.length = 300};
  const ch::Tensor prefill = ch::attend(x.q, x.k, x.v, {.topology = ch::causal()}).out;
  ch::KVCache cache;
  double farthest = 0;
  for (int64_t i = 0; i < x.length; ++i) {
    cache.append(row_of(x.k, i), row_of(x.v, i));
    const ch::Attended step = ch::attend(row_of(x.q, i), cache.snapshot(), {.topology = ch::causal()});
    farthest = std::max(farthest, farthest_between(step.out, row_of(prefill, i).contiguous()));
  }
  show("pages that grow", farthest < 2e-6, "300 steps, each within %.0e of the prefill's row", farthest);
}

// A sliding window releases keys that no later query sees: memory is bounded, positions do not change.
void sliding() {
  const Tokens x{.length = 1000};
  const ch::AttentionSpec spec{.topology = ch::causal(/*back=*/99)};
  ch::KVCache cache;
  for (int64_t i = 0; i < x.length; ++i) {
    cache.keep_last(99);
    cache.append(row_of(x.k, i), row_of(x.v, i));
  }
  const ch::Tensor last = ch::attend(row_of(x.q, 999), cache.snapshot(), spec).out;
  const double error = farthest_between(last, row_of(ch::attend(x.q, x.k, x.v, spec).out, 999).contiguous());
  show("pages that slide", error < 2e-6 && cache.snapshot().first == 768,
       "keys before %d are let go, the last row within %.0e of the prefill's", static_cast<int>(cache.snapshot().first), error);
}

// Beam search: sequence b continues from sequence rows[b]. Full pages are shared, not copied.
void beams() {
  const ch::Tensor k = any(2, {2, 1, 300, 8}), v = any(3, {2, 1, 300, 8}), q = any(1, {2, 1, 1, 8});
  ch::KVCache cache;
  cache.append(k, v);
  cache.select({1, 1});  // both beams continue from the second
  cache.append(any(4, {2, 1, 1, 8}), any(5, {2, 1, 1, 8}));
  const ch::PagedKV keys = cache.snapshot();
  const ch::Attended done = ch::attend(q, keys, {});
  const double s = static_cast<double>(ch::AttentionMap(done.record).head(0, 0).row(0).scores()[7]);
  const double parent = dot(q, 0, k.slice(0, 1, 2), 7) / std::sqrt(8.0);
  show("shared by beams", near(s, parent) && keys.pages[0][0] == keys.pages[1][0] && keys.pages[0][1] != keys.pages[1][1],
       "beam 0 scores %.4f with a key of beam 1; page 0 is one in memory, page 1 is not", s);
}

// One prompt, two continuations: copies of a cache share its full pages and grow independently.
void shared_prefix() {
  const Tokens x{.length = 600};
  ch::KVCache one;
  one.append(x.k, x.v);
  ch::KVCache other = one;
  other.append(any(4, {1, 1, 5, 8}), any(5, {1, 1, 5, 8}));
  const auto &a = one.snapshot(), &b = other.snapshot();
  show("shared prefix", a.pages[0][1] == b.pages[0][1] && one.length() == 600 && other.length() == 605,
       "600 and 605 keys; the full pages are the same memory");
}

// bf16 halves the memory: keys and values are rounded to nearest even, |Δk| ≤ 2⁻⁸·|k|; attention is exact for the stored values.
void pages_of_16_bits() {
  const Tokens x{.length = 300};
  ch::KVCache cache(ch::DType::kBF16);
  cache.append(x.k, x.v);
  const std::vector<double> s = scores(ch::attend(row_of(x.q, 299), cache.snapshot(), {}), 0);
  const ch::Tensor rounded = ch::to_f32(ch::to_dtype(x.k, ch::DType::kBF16));
  const double from_stored = off(s, [&](int64_t j) { return dot(x.q, 299, rounded, j) / std::sqrt(8.0); });
  const double from_given = off(s, [&](int64_t j) { return dot(x.q, 299, x.k, j) / std::sqrt(8.0); });
  show("pages of bf16", from_stored < 2e-6 && from_given > from_stored, "scores within %.0e of the rounded keys', %.0e of the given ones'",
       from_stored, from_given);
}

// --- memory -----------------------------------------------------------------------------------------------------------------------------------

// Vaswani et al. 2017, §3.2.3: the decoder attends to the encoder's output, whose keys and values are computed once.
void cross_memory() {
  const ch::Tensor k = any(2, {1, 1, 40, 8}), v = any(3, {1, 1, 40, 8}), q = any(1, {1, 1, 2, 8});
  ch::KVCache memory;
  memory.append(k, v);
  const ch::Tensor both = ch::attend(q, k, v).out;
  const double first = farthest_between(ch::attend(row_of(q, 0), memory.snapshot(), {}).out, row_of(both, 0).contiguous());
  const double second = farthest_between(ch::attend(row_of(q, 1), memory.snapshot(), {}).out, row_of(both, 1).contiguous());
  show("cross-attention memory", first < 2e-6 && second < 2e-6, "made once, asked by two steps: within %.0e of one call",
       std::max(first, second));
}

// Keys are [memory | segment], and those of the memory are constants, as a cache's are. (Transformer-XL's projections learn through them:
// segment_memory.cc.)
void segment_memory() {
  const Tokens x;
  const ch::Tensor q = x.q.slice(2, 8, 12);
  const ch::Attended done = ch::attend(q, x.k, x.v, {.topology = ch::causal()});
  const ch::Tensor d_out = any(4, done.out.shape());
  const ch::AttendGradients all = ch::attend_gradients(done.record, x.v, done.out, d_out);
  const ch::AttendGradients stopped = ch::attend_gradients(done.record, x.v, done.out, d_out, nullptr, /*memory=*/8);
  double in_memory = 0;
  for (int64_t j = 0; j < 8; ++j) in_memory += weights(done, 0)[static_cast<size_t>(j)];
  show("segment memory", stopped.k.size(2) == 4 && at(stopped.k, 1, 0) == at(all.k, 9, 0) && in_memory > 0,
       "%.2f of the first row's weight is in the memory; gradients are of %d keys of 12", in_memory, static_cast<int>(stopped.k.size(2)));
}

// --- interventions: the same call under another description -------------------------------------------------------------------------------------------

// Michel, Levy & Neubig 2019, eq. 2: ablate a head.
void knock_out() {
  const Tokens x{.heads = 2};
  const ch::InterventionSite layer{.layer = 3, .heads = 2};
  const ch::Attended done = ch::attend(x.q, x.k, x.v, ch::with_interventions({}, {.ablated = {{.layer = 3, .head = 1}}}, layer));
  double of_head_1 = 0;
  for (int64_t n = 12 * 8; n < done.out.numel(); ++n) of_head_1 += std::abs(static_cast<double>(done.out.data<float>()[n]));
  show("knock out a head", of_head_1 == 0 && at(done.out, 0, 0) != 0 && near(sum(weights(done, 5, 1)), 1),
       "L3.H1 gives zeros; its map can still be seen (a row sums to %.4f)", sum(weights(done, 5, 1)));
}

// Geva et al. 2023, §4: hide some keys from some queries (attention knockout). The rest of the row is renormalised.
void cut() {
  const Tokens x;
  const ch::Interventions interventions{.knockouts = {{.queries = {5, 6}, .keys = {2, 4}}}};
  const std::vector<double> whole = weights(ch::attend(x.q, x.k, x.v), 5),
                            left = weights(ch::attend(x.q, x.k, x.v, ch::with_interventions({}, interventions, {.heads = 1})), 5);
  const double lost = whole[2] + whole[3];
  show("cut a span", left[2] == 0 && left[3] == 0 && near(left[0], whole[0] / (1 - lost)),
       "keys 2 and 3 had %.4f, now 0; key 0 has %.4f = %.4f / (1 − %.4f)", lost, left[0], whole[0], lost);
}

// keep_only: these queries see only these keys.
void keep_only() {
  const Tokens x;
  const ch::Interventions interventions{.keep_only = {{.queries = {5, 6}, .keys = {2, 4}}}};
  const std::vector<double> whole = weights(ch::attend(x.q, x.k, x.v), 5),
                            left = weights(ch::attend(x.q, x.k, x.v, ch::with_interventions({}, interventions, {.heads = 1})), 5);
  show("keep only", near(left[2] + left[3], 1) && near(left[2], whole[2] / (whole[2] + whole[3])),
       "keys 2 and 3 have %.4f and %.4f: all there is", left[2], left[3]);
}

// --- gradients --------------------------------------------------------------------------------------------------------------------------------

// Dao 2023, algorithm 2: weights are recomputed tile by tile and never stored. Each gradient is compared with (L(x + h) − L(x − h)) / 2h
// for L = Σ out·w.
void gradients() {
  Tokens x;
  const ch::Attended done = ch::attend(x.q, x.k, x.v);
  const ch::Tensor w = any(4, done.out.shape());
  const ch::AttendGradients d = ch::attend_gradients(done.record, x.v, done.out, /*d_out=*/w);
  const auto differences = [&](ch::Tensor& operand) {  // for the first element
    const ch::Tensor before = operand;
    double loss[2] = {0, 0};
    for (const int side : {0, 1}) {
      operand = before.clone();
      operand.mutable_data<float>()[0] += side == 0 ? -0x1p-6F : 0x1p-6F;
      const ch::Tensor out = ch::attend(x.q, x.k, x.v).out;
      for (int64_t i = 0; i < x.length; ++i) loss[side] += dot(out, i, w, i);
    }
    operand = before;
    return (loss[1] - loss[0]) / 0x1p-5;
  };
  const double q = differences(x.q), k = differences(x.k), v = differences(x.v);
  show("gradients of q, k and v", near(at(d.q, 0, 0), q, 2e-4) && near(at(d.k, 0, 0), k, 2e-4) && near(at(d.v, 0, 0), v, 2e-4),
       "%.4f, %.4f, %.4f; by differences %.4f, %.4f, %.4f", at(d.q, 0, 0), at(d.k, 0, 0), at(d.v, 0, 0), q, k, v);
}

}  // namespace

int main() {
  std::puts("Pages");
  for (const auto entry : {growing, sliding, beams, shared_prefix, pages_of_16_bits}) entry();
  std::puts("Memory");
  for (const auto entry : {cross_memory, segment_memory}) entry();
  std::puts("Interventions");
  for (const auto entry : {knock_out, cut, keep_only}) entry();
  std::puts("Gradients");
  gradients();
  return verdict();
}
