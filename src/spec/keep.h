// Decides which weights dropout keeps. The decision depends on (seed, batch, head, query, key) only, so the forward
// pass, gradients and recomputed weights agree for any number of threads.
//
//   noise of a row: 64 bits from (seed, batch, head, query)      bits of a pair: 32 from its row's noise and its key
//   kept if bits ≥ ⌊rate·2³²⌋
//
// The bits of a pair are computed with 32-bit integers only, so vector code gives the same result (backends/cpu/score/after-inl.h).
// mix_pair is Wellons' lowbias32 (hash-prospector, 2018).
#pragma once

#include <cstdint>

#include "base/random.h"
#include "clearhead/spec.h"

namespace clearhead {

inline uint64_t noise_of(uint64_t seed, int64_t batch, int64_t head, int64_t query) {
  return random_bits(random_bits(random_bits(seed, static_cast<uint64_t>(batch)), static_cast<uint64_t>(head)),
                     static_cast<uint64_t>(query));
}

inline uint32_t mix_pair(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7FEB352DU;
  x ^= x >> 15;
  x *= 0x846CA68BU;
  return x ^ (x >> 16);
}

inline uint32_t pair_bits(uint64_t noise, int64_t key) {
  return mix_pair(mix_pair(static_cast<uint32_t>(key) + static_cast<uint32_t>(noise)) ^ static_cast<uint32_t>(noise >> 32));
}

/// Pairs with bits below this number are dropped.
inline uint32_t dropped_below(const Dropout& dropout) { return static_cast<uint32_t>(static_cast<double>(dropout.rate) * 0x1p32); }

inline bool keeps(const Dropout& dropout, uint64_t noise, int64_t key) { return pair_bits(noise, key) >= dropped_below(dropout); }

}  // namespace clearhead
