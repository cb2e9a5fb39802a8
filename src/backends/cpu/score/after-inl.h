// Factors on normalised weights that differ between (query, key) pairs: dropout and the Gaussian around a centre.
// Included once per target.
//
//   P·keep·2^(−(j − c)²·log₂e/(2σ²))
//
// The head mask and dropout's 1/(1 − rate) are the same for a whole head: they are ScoreView::after.factor, which is
// multiplied into 1/ℓ. Lanes hold queries. Whether a pair is kept follows from the integer arithmetic of
// spec/keep.h, so every backend keeps the same pairs.
#if defined(CLEARHEAD_CPU_SCORE_AFTER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_AFTER_INL_H_
#undef CLEARHEAD_CPU_SCORE_AFTER_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_AFTER_INL_H_
#endif

#include "backends/cpu/score/pack-inl.h"
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

using U32 = hn::ScalableTag<uint32_t>;
using Words = hn::Vec<U32>;

HWY_INLINE Words mix_pairs(Words x) {
  const U32 d;
  x = hn::Xor(x, hn::ShiftRight<16>(x)) * hn::Set(d, 0x7FEB352DU);
  x = hn::Xor(x, hn::ShiftRight<15>(x)) * hn::Set(d, 0x846CA68BU);
  return hn::Xor(x, hn::ShiftRight<16>(x));
}

// pair_bits of spec/keep.h for a vector of queries, with one key for all lanes or one key per lane.
template <class Key>
HWY_INLINE Words pair_bits_of(Words low, Words high, Key key) {
  return mix_pairs(hn::Xor(mix_pairs(low + hn::BitCast(U32(), keys_of(key))), high));
}

// The factor (dropout, Gaussian) on each weight of one vector of queries, starting at lane `at` of the block. `key` is
// one key for all lanes, or one key per lane.
template <class Key>
HWY_INLINE Floats after_factor(const AfterView& after, const QueryBlock& block, int at, Key key) {
  const F32 d;
  const I32 di;
  const U32 du;
  Floats out = hn::Set(d, 1.0F);
  if (after.centres) {
    const Floats distance = hn::ConvertTo(d, keys_of(key)) - hn::Load(d, block.centre + at);
    out = exp2_shifted(distance * distance * hn::Set(d, -after.narrowness), hn::Zero(d));
  }
  if (after.drops) {
    const Words bits = pair_bits_of(hn::Load(du, block.noise_low + at), hn::Load(du, block.noise_high + at), key);
    const auto signed_bits = hn::BitCast(di, hn::Xor(bits, hn::Set(du, 0x80000000U)));
    const auto dropped = hn::Lt(signed_bits, hn::Set(di, static_cast<int32_t>(after.dropped_below ^ 0x80000000U)));
    out = hn::IfThenZeroElse(hn::RebindMask(d, dropped), out);
  }
  return out;
}

// Multiplies the weights p [key][kBlock lanes] of kRows keys by their factors. p begins at vector `first_vector` of the
// block.
inline HWY_NOINLINE void apply_after(const AfterView& after, const QueryBlock& block, int64_t key, int first_vector, int vectors,
                                     float* p) {
  const F32 d;
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      float* at = p + r * kBlock + v * kLanes;
      hn::Store(hn::Load(d, at) * after_factor(after, block, (first_vector + v) * kLanes, key + r), d, at);
    }
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
