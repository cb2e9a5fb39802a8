// Products summed over the lanes of query blocks: the sums over queries of dK and dV, and running sums. Included once per
// target.
//
//   to[key][channel] += Σ_lane weights[key][lane]·rows[lane][channel], lanes ascending, block after block: one chain
//
// With Bf16DotStep, a lane is a word: it holds two neighbouring weights in bf16, and the rows are interleaved in pairs.
#if defined(CLEARHEAD_CPU_SCORE_LANE_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_LANE_PRODUCTS_INL_H_
#undef CLEARHEAD_CPU_SCORE_LANE_PRODUCTS_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_LANE_PRODUCTS_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "backends/cpu/score/pack-inl.h"
#include "backends/cpu/score/steps-inl.h"
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// kStepsOfBlock: lanes of a block. kParts: blocks that are summed before a result is stored. Storing after every f32
// block would cost the backward pass 2 %.
template <class Step>
inline constexpr int kStepsOfBlock = kBlock;
template <>
inline constexpr int kStepsOfBlock<Bf16DotStep> = kBlock / 2;
template <class Step>
inline constexpr int kParts = 2 * kBlock / kStepsOfBlock<Step>;
inline constexpr int kTwoBlocks = kParts<DotStep>;

// One block's contribution to the sums of a group of keys: lanes [begin, end).
struct LanePart {
  const float* weights = nullptr;  // [kRows keys][kStepsOfBlock]
  const float* rows = nullptr;     // [lane][padded width]
  int begin = 0, end = 0;
};

// to[kRows keys][C vectors] += Σ weights[key][lane]·rows[lane], lanes ascending. With kPartial, the last vector has only
// `left` channels.
template <class Step, int C, bool kPartial>
HWY_INLINE void add_products(const LanePart* HWY_RESTRICT parts, int64_t padded, float* HWY_RESTRICT to, int64_t stride, int64_t left) {
  const F32 d;
  const Lanes exist = hn::FirstN(d, static_cast<size_t>(left));
  Floats sum[kRows * C];
  unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
      const float* at = to + r * stride + c * kLanes;
      sum[r * C + c] = kPartial ? hn::MaskedLoad(exist, d, at) : hn::LoadU(d, at);
    });
  });
  for (const LanePart* part = parts; part < parts + kParts<Step>; ++part) {
    const float *weights = part->weights + part->begin, *rows = part->rows + part->begin * padded;
#pragma GCC unroll 2
    for (int i = part->begin; i < part->end; ++i) {
      Floats row[C];
      unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA { row[c] = hn::Load(d, rows + c * kLanes); });
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats weight = hn::Set(d, weights[r * kStepsOfBlock<Step>]);
        unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA { sum[r * C + c] = Step()(weight, row[c], sum[r * C + c]); });
      });
      ++weights;
      rows += padded;
    }
  }
  unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
    unroll<C>([&](auto c) CLEARHEAD_INLINE_LAMBDA {
      float* at = to + r * stride + c * kLanes;
      kPartial ? hn::BlendedStore(sum[r * C + c], exist, d, at) : hn::StoreU(sum[r * C + c], d, at);
    });
  });
}

// The same for all channels.
template <class Step = DotStep>
HWY_NOINLINE void add_group_products(const LanePart* parts, int64_t width, float* to, int64_t stride) {
  const int64_t padded = round_up(width, 16);
  LanePart at[kParts<Step>];
  std::copy(parts, parts + kParts<Step>, at);
  int64_t c = 0;
  const auto next = [&](int64_t channels) {
    c += channels;
    for (LanePart& part : at) part.rows += channels;
  };
  for (; c + 2 * kLanes <= width; next(2 * kLanes)) add_products<Step, 2, false>(at, padded, to + c, stride, 0);
  for (; c + kLanes <= width; next(kLanes)) add_products<Step, 1, false>(at, padded, to + c, stride, 0);
  if (c < width) add_products<Step, 1, true>(at, padded, to + c, stride, width - c);
}

// The same chains, except that a number that is not finite is multiplied only by weights of visible (query, key) pairs,
// that is, weights that are not −0.
inline HWY_NOINLINE void add_group_products_carefully(const LanePart* parts, int64_t width, float* to, int64_t stride) {
  const int64_t padded = round_up(width, 16);
  for (int r = 0; r < kRows; ++r) {
    for (const LanePart* part = parts; part < parts + kTwoBlocks; ++part) {
      for (int i = part->begin; i < part->end; ++i) {
        const float weight = part->weights[r * kBlock + i];
        const bool seen = weight != 0 || !std::signbit(weight);
        for (int64_t c = 0; c < width; ++c) {
          const float x = part->rows[i * padded + c];
          if (seen || std::isfinite(x)) to[r * stride + c] = std::fma(weight, x, to[r * stride + c]);
        }
      }
    }
  }
}

inline HWY_NOINLINE void add_word_products_carefully(const LanePart* parts, int64_t width, float* to, int64_t stride) {
  const F32 d;
  const I32 di;
  const int64_t padded = round_up(width, 16);
  for (int r = 0; r < kRows; ++r) {
    for (const LanePart* part = parts; part < parts + kParts<Bf16DotStep>; ++part) {
      for (int i = part->begin; i < part->end; ++i) {
        const Floats weight = hn::Set(d, part->weights[r * kStepsOfBlock<Bf16DotStep> + i]);
        const Ints seen = seen_halves(weight);
        for (int64_t c = 0; c < width; c += kLanes) {
          const Lanes exist = hn::FirstN(d, static_cast<size_t>(width - c));
          const Ints row = hn::And(hn::BitCast(di, hn::Load(d, part->rows + i * padded + c)), seen);
          float* at = to + r * stride + c;
          hn::BlendedStore(dot_bf16(weight, hn::BitCast(d, row), hn::MaskedLoad(exist, d, at)), exist, d, at);
        }
      }
    }
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
