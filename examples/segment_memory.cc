// Reads a long text segment by segment. Each segment attends to its own hidden states and to those of the previous segment
// (Transformer-XL: Dai et al. 2019, §3.2).
//
//   h̃ = [SG(h_old) ∘ h]      q = h·W_qᵀ   k = h̃·W_kᵀ   v = h̃·W_vᵀ
//   causal(): query i sees all of the memory, and its own segment up to itself
//
// Gradients stop at h_old, but not at W_k and W_v, which also learn from the rows of the memory. With a cache of keys, whose
// rows are constants, W_k and W_v do not learn from these rows: that is the argument `memory` of attend_gradients.
#include <clearhead/clearhead.h>

#include <cmath>
#include <cstdio>

namespace ch = clearhead;

namespace {
constexpr int64_t kSegment = 4, kWidth = 8;

ch::Tensor as_one_head(const ch::Tensor& rows) { return rows.reshape({1, 1, rows.size(0), kWidth}); }

// d_kᵀ·h: the gradient of W_k through the keys k = h·W_kᵀ.
ch::Tensor learnt(const ch::Tensor& d_k, const ch::Tensor& h) {
  ch::Tensor out = ch::Tensor::zeros({kWidth, kWidth});
  for (int64_t j = 0; j < h.size(0); ++j) {
    for (int64_t i = 0; i < out.numel(); ++i)
      out.mutable_data<float>()[i] += d_k.data<float>()[j * kWidth + i / kWidth] * h.data<float>()[j * kWidth + i % kWidth];
  }
  return out;
}

double distance(const ch::Tensor& a, const ch::Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += std::pow(static_cast<double>(a.data<float>()[i] - b.data<float>()[i]), 2);
  return std::sqrt(sum);
}
}  // namespace

int main() {
  ch::Training training;
  const ch::Tensor table = training.parameter({3 * kSegment, kWidth}, 1), w_q = training.parameter({kWidth, kWidth}, 0.3),
                   w_k = training.parameter({kWidth, kWidth}, 0.3), w_v = training.parameter({kWidth, kWidth}, 0.3);
  ch::Tensor d_out = ch::Tensor::empty({kSegment, kWidth});  // a loss: Σ out·d_out
  for (int64_t i = 0; i < d_out.numel(); ++i) d_out.mutable_data<float>()[i] = std::sin(static_cast<float>(i));
  ch::Tensor old = training.embed(table, {0, 1, 2, 3}).clone();  // a clone is a constant: SG(·)
  for (int32_t first = kSegment; first < 3 * kSegment; first += kSegment) {
    const ch::Tensor h = training.embed(table, {first, first + 1, first + 2, first + 3}), both = training.concat({old, h}, 0);
    const ch::Tensor q = as_one_head(training.linear(h, w_q)), k = as_one_head(training.linear(both, w_k)),
                     v = as_one_head(training.linear(both, w_v));
    const ch::Tensor seen = training.attend(q, k, v, {.topology = ch::causal()});
    const ch::Tensor parts = training.multiply(training.contiguous(seen), as_one_head(d_out)).reshape({kSegment * kWidth});

    // The same by hand: all rows of d_k, including those of the memory, contribute to W_k's gradient; with `memory` only the segment's rows
    // do.
    const auto [out, record] = ch::attend(q, k, v, {.topology = ch::causal()});
    const auto all = ch::attend_gradients(record, v, out, as_one_head(d_out));
    const auto cached = ch::attend_gradients(record, v, out, as_one_head(d_out), nullptr, /*memory=*/kSegment);
    const ch::Tensor of_all = learnt(all.k, both), of_segment = learnt(cached.k, h);

    training.backward(training.sum(parts, 0));
    const ch::Tensor d_table = training.gradient(table), none = ch::Tensor::zeros({kSegment, kWidth});
    const double to_memory = distance(d_table.slice(0, first - kSegment, first), none);
    const double off = distance(training.gradient(w_k), of_all), less = distance(of_segment, of_all);
    std::printf(
        "token %d: W_k's gradient is off by %.0e from all rows' by hand, that of a cache of keys by %.2f; %.0e flows into the memory\n",
        static_cast<int>(first), off, less, to_memory);
    if (off > 1e-5 || less < 1e-2 || to_memory != 0) return 1;
    training.step(0);  // clears the gradients; a rate above 0 would learn
    old = h.clone();
  }
  return 0;
}
