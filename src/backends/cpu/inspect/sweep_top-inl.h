// The keys with the highest scores of each row of a block, found while the scores are in registers. Included once per
// target.
//
//   Test whether the largest score of a group exceeds the lowest score that a lane keeps.
//       This is rare: about 8 ln(N / 8) times per row if 8 keys are kept and the N scores are in random order.
//   If so, insert each such key in all lanes at once; the keys that it passes move down by one.
//
// A key passes only keys with lower scores, and keys are visited in ascending order, so ties keep the earlier key. NaN
// passes no key.
#if defined(CLEARHEAD_CPU_INSPECT_SWEEP_TOP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_INSPECT_SWEEP_TOP_INL_H_
#undef CLEARHEAD_CPU_INSPECT_SWEEP_TOP_INL_H_
#else
#define CLEARHEAD_CPU_INSPECT_SWEEP_TOP_INL_H_
#endif

#include <algorithm>

#include "backends/cpu/score/score_kernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

struct TopKeys {
  int64_t count = 0;
  float* scores = nullptr;                  // [count][kBlock], descending; kVisible where there is no key yet
  int32_t* keys = nullptr;                  // [count][kBlock]; −1 where there is no key yet
  alignas(64) float group[kRows * kBlock];  // [key][vector][lane]

  void reset() {
    std::fill(scores, scores + count * kBlock, kVisible);
    std::fill(keys, keys + count * kBlock, -1);
  }

  template <int V>
  HWY_INLINE void follow(const Scores<V>& s, int64_t key, int first) {
    const F32 d;
    const float* least = scores + (count - 1) * kBlock + first;
    Lanes above = hn::FirstN(d, 0);
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Floats bar = hn::Load(d, least + v * kLanes);
      Floats largest = bar;
      unroll<kRows>([&](auto r)
                    // Never NaN, because of the order of the operands.
                    CLEARHEAD_INLINE_LAMBDA { largest = hn::Max(s.c[r * V + v], largest); });
      above = hn::Or(above, hn::Gt(largest, bar));
    });
    if (HWY_LIKELY(hn::AllFalse(d, above))) return;
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[i], d, group + i * kLanes); });
    insert_group(V, key, first);
  }

  HWY_NOINLINE void insert_group(int vectors, int64_t key, int first) {
    const F32 d;
    for (int v = 0; v < vectors; ++v) {
      const int lane = first + v * kLanes;
      for (int r = 0; r < kRows; ++r) {
        const Floats score = hn::Load(d, group + (r * vectors + v) * kLanes);
        if (!hn::AllFalse(d, hn::Gt(score, hn::Load(d, scores + (count - 1) * kBlock + lane)))) insert(score, keys_of(key + r), lane);
      }
    }
  }

  // From the last place to the first, each place keeps its key, or receives the new key or the key above it.
  HWY_INLINE void insert(Floats score, Ints key, int lane) {
    const F32 d;
    const I32 di;
    float* to = scores + (count - 1) * kBlock + lane;
    int32_t* to_key = keys + (count - 1) * kBlock + lane;
    Floats here = hn::Load(d, to);
    Ints here_key = hn::Load(di, to_key);
    Lanes passed = hn::Gt(score, here);
    for (int64_t place = count - 1; place > 0; --place, to -= kBlock, to_key -= kBlock) {
      const Floats above = hn::Load(d, to - kBlock);
      const Ints above_key = hn::Load(di, to_key - kBlock);
      const Lanes passes = hn::Gt(score, above);
      hn::Store(hn::IfThenElse(passes, above, hn::IfThenElse(passed, score, here)), d, to);
      hn::Store(hn::IfThenElse(hn::RebindMask(di, passes), above_key, hn::IfThenElse(hn::RebindMask(di, passed), key, here_key)), di,
                to_key);
      here = above, here_key = above_key, passed = passes;
    }
    hn::Store(hn::IfThenElse(passed, score, here), d, to);
    hn::Store(hn::IfThenElse(hn::RebindMask(di, passed), key, here_key), di, to_key);
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
