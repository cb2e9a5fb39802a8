// A long text, segment by segment: each attends over the one before it and itself, and gradients stop at the memory (Transformer-XL: Dai et al. 2019, §3.2).
//
//   k = [memory | segment]      causal(): query i of the segment sees all of the memory and the segment up to itself
#include <clearhead/clearhead.h>

#include <cmath>
#include <cstdio>

namespace ch = clearhead;

namespace {
constexpr int64_t kSegment = 4, kWidth = 8;

// What a layer would project from the hidden states of tokens [first, first + count).
ch::Tensor projected(int64_t first, int64_t count, float step) {
  ch::Tensor out = ch::Tensor::empty({1, 1, count, kWidth});
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data<float>()[i] = std::sin(static_cast<float>(first * kWidth + i) * step);
  return out;
}
}  // namespace

int main() {
  for (int64_t first = kSegment; first < 3 * kSegment; first += kSegment) {
    // A layer keeps the hidden states of the last segment; their keys and values stand before the segment's own.
    const ch::Tensor q = projected(first, kSegment, 0.7F);
    const ch::Tensor k = projected(first - kSegment, 2 * kSegment, 0.3F), v = projected(first - kSegment, 2 * kSegment, 0.5F);
    const auto [out, record] = ch::attend(q, k, v, {.topology = ch::causal()});
    const auto gradients = ch::attend_gradients(record, v, out, projected(first, kSegment, 0.9F), nullptr, /*memory=*/kSegment);
    float from_memory = 0;
    const ch::MapRow row = ch::AttentionMap(record).head(0, 0).row(0);
    for (int64_t key = 0; key < kSegment; ++key) from_memory += row.weights()[static_cast<size_t>(key)];
    std::printf("token %d: %.2f of its weight lies in the memory; gradients of %d keys\n", static_cast<int>(first),
                static_cast<double>(from_memory), static_cast<int>(gradients.k.size(2)));
    if (gradients.k.size(2) != kSegment) return 1;
  }
  return 0;
}
