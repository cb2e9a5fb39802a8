// The matrix products of the backward pass by AMX (score/amx-inl.h), with the same operands as with bf16 dot products.
// Included once per target.
//
//             A                                           B                                       C
//   dP − D    the rows of 16 values, as stored            dO in lanes, words of two channels      [key][query], sums start at −D
//   dQt       16 channels of the chunk's keys,            dS, words of two keys                   [channel][query]
//             words of two keys
//   dV, dK    P, dS of 16 keys, words of two queries      rows of dO, q, words of two queries     [key][channel]
//
// For dV and dK, the queries of the blocks that are processed together form one row of words: 96 queries take three
// multiplications. P and dS that no group has written are set to those of hidden (query, key) pairs.
#if defined(CLEARHEAD_CPU_BACKWARD_AMX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_AMX_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_AMX_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_AMX_INL_H_
#endif

#include <algorithm>

#include "backends/cpu/backward/scratch-inl.h"
#include "backends/cpu/score/amx-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

/// Computes dP − D of kAmxKeys keys from `key` on, into scratch.value_products.
inline void multiply_values(const ScoreView& view, const KeySide& keys, const StripBlock& block, const BackwardScratch& scratch,
                            int64_t key) {
  const WordRows values{keys.values, keys.value_stride, keys.value_words, view.key_length, scratch.value_tail};
  with_vectors(block.queries.vectors, [&](auto vectors) {
    multiply_rows<vectors>(values, key, block.d_out_t, view.amx_step, block.minus_mean, scratch.value_products);
  });
}

/// Packs the chunk's keys into scratch.key_words.
inline void lay_out_keys(const ScoreView& view, int64_t chunk, const BackwardScratch& scratch) {
  const auto* rows = reinterpret_cast<const uint16_t*>(view.keys + chunk * view.key_stride);
  const int64_t keys = std::min(kChunkKeys, view.key_length - chunk);
  lay_out_for_amx(rows, 2 * view.key_stride, 1, keys, 2 * view.d_k, scratch.sum_tail, scratch.key_words);
}

/// Marks the words of one block outside vectors [first, last) as hidden pairs, for kRows keys, `stride` apart.
inline void fill_around(float* words, int64_t stride, int first, int last) {
  if (first == 0 && last == kVectors) return;
  const hn::Half<F32> half;
  const auto hidden = hn::BitCast(half, hn::Set(hn::RebindToSigned<decltype(half)>(), kHiddenPair));
  for (int r = 0; r < kRows; ++r, words += stride) {
    for (int v = 0; v < kVectors; ++v) {
      if (v < first || v >= last) hn::StoreU(hidden, half, words + v * (kLanes / 2));
    }
  }
}

/// Computes to[kSide keys][width] += Σ weights·rows over `pairs` words of two queries.
struct KeyProducts {
  int64_t step, pairs, weight_stride, keys;  // keys: number of keys from the first one to the end; may be below kSide
  bool careful;
  float* tail;  // [kSide][width]

  void add(const float* weights, const float* rows, int64_t width, float* to) const {
    if (HWY_LIKELY(keys >= kSide)) return add_all(weights, rows, width, to);
    std::fill_n(tail, kSide * width, 0.0F);
    std::copy_n(to, keys * width, tail);
    add_all(weights, rows, width, tail);
    std::copy_n(tail, keys * width, to);
  }

 private:
  void add_all(const float* weights, const float* rows, int64_t width, float* to) const {
    if (HWY_UNLIKELY(careful)) return add_carefully(weights, rows, width, to);
    int64_t c = 0;
    for (; c + 4 * kSide <= width; c += 4 * kSide) add_channels_of<4>(weights, rows + c, width, to + c);
    const int64_t left = (width - c) / kSide;
    if (left == 3) add_channels_of<3>(weights, rows + c, width, to + c);
    if (left == 2) add_channels_of<2>(weights, rows + c, width, to + c);
    if (left == 1) add_channels_of<1>(weights, rows + c, width, to + c);
  }

  template <int N>
  HWY_NOINLINE void add_channels_of(const float* weights, const float* rows, int64_t width, float* to) const {
    const int64_t row_bytes = width * 4;
    unroll<N>([&](auto n) CLEARHEAD_INLINE_LAMBDA { amx_load<n>(to + n * kSide, row_bytes); });
    for (int64_t pair = 0; pair < pairs; pair += step) {
      amx_load<6>(weights + pair, weight_stride * 4);
      unroll<N>([&](auto n) CLEARHEAD_INLINE_LAMBDA {
        amx_load<7>(rows + pair * width + n * kSide, row_bytes);
        amx_dot<n>();
      });
    }
    unroll<N>([&](auto n) CLEARHEAD_INLINE_LAMBDA { amx_store<n>(to + n * kSide, row_bytes); });
  }

  // The same chains, but a row is multiplied only by the weights of keys that it sees.
  HWY_NOINLINE void add_carefully(const float* weights, const float* rows, int64_t width, float* to) const {
    const F32 d;
    for (int64_t key = 0; key < kSide; ++key, weights += weight_stride, to += width) {
      for (int64_t c = 0; c < width; c += kLanes) {
        Floats sum = hn::LoadU(d, to + c);
        for (int64_t first = 0; first < pairs; first += step) {
          AmxSum part;
          start_sum(part);
          for (int64_t pair = first; pair < first + step; ++pair) {
            const Floats weight = hn::Set(d, weights[pair]);
            part.add(seen_of(hn::Load(d, rows + pair * width + c), weight), weight);
          }
          sum = sum + (part.even + part.odd);
        }
        hn::StoreU(sum, d, to + c);
      }
    }
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
