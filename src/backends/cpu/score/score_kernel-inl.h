// The score kernel: computes q·k and applies the terms and visibility, for a group of keys in registers. Included once
// per target.
//
//   pack_queries → QueryBlock     queries in lanes, multiplied by scale·log₂e: Qt [d_k][kBlock]
//   prepare_tile → TileSight      the keys of a key tile to compute; bias and mask of the tile in lane order
//   for_each_group(…, epilogue)   calls epilogue(Scores<V>& s, key, first_vector) for each group of kRows keys.
//                                 s.c[r·V + v] is the score of key `key + r` and the queries of vector first_vector+v,
//                                 still in registers: all terms are applied, and hidden pairs are kHidden.
//
// Forward, weights and sweep differ only in their epilogue, so a score has the same bits in all of them. It is one
// chain of multiply-adds over ascending channels, starting from 0, for every key layout, key tile and lane. Element-wise
// terms follow (term_alibi, term_soft_cap, term_dense); decode applies the same functions with keys in lanes.
//
// Groups start at multiples of kRows. Work is skipped where nothing is visible: groups that no query sees, and vectors
// none of whose queries sees a key of the group (V < block.vectors, first_vector > 0). Groups that every query sees
// skip masking. If the score is a dot product without terms, or with one term and an epilogue that has kTakesTerm, they
// are computed by a shorter kernel, plain_groups.
//
// Keys have one of two layouts: row-major (base, stride), or panels of 16 keys [d_k][16]. Scores of bf16 may be computed
// by AMX instead of chains of multiply-adds (amx-inl.h); which of the two depends on the call alone.
#if defined(CLEARHEAD_CPU_SCORE_SCORE_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_SCORE_KERNEL_INL_H_
#undef CLEARHEAD_CPU_SCORE_SCORE_KERNEL_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_SCORE_KERNEL_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "backends/cpu/score/amx-inl.h"
#include "backends/cpu/score/pack-inl.h"
#include "backends/cpu/score/page-inl.h"
#include "backends/cpu/score/rule-inl.h"
#include "backends/cpu/score/score_view.h"
#include "backends/cpu/score/steps-inl.h"
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// The visible part of a key tile, and the mechanisms besides the band that hide pairs in it.
struct TileSight {
  int64_t tile = 0;             // first key of the tile
  int64_t begin = 0, end = 0;   // keys to compute; begin is a multiple of kRows; nothing is visible if begin ≥ end
  const float* keys = nullptr;  // the row of the tile's first key, or the panels of its page
  bool segments = false, mask = false;
  // Set if scores may be −∞ after the terms: they are then raised to kHidden. Otherwise they are checked as in a call
  // without terms: if a result is not finite, the block is computed again by the careful kernels.
  bool floors = true;
  bool empty() const { return begin >= end; }
};

// --- visible part of a key tile -------------------------------------------------------------------------------------

// Drops keys at both ends of `sight` whose segment id is outside the range of the block's query ids. Tests the segment
// bounds of the tile first.
inline HWY_NOINLINE void look_at_segments(const ScoreView& view, const QueryBlock& block, TileSight& sight) {
  const size_t tile = static_cast<size_t>(sight.begin / kKeyTile);
  const int32_t low = std::max(0, block.segment_low), high = block.segment_high;
  const int32_t tile_low = view.segment_bounds->low[tile], tile_high = view.segment_bounds->high[tile];
  if (high < low || tile_high < low || high < tile_low) {
    sight.end = sight.begin;
    return;
  }
  sight.segments = block.segment_low < 0 || tile_low != tile_high || low != high;
  if (!sight.segments) return;
  const auto outside = [&](int64_t key) {
    const int32_t id = view.key_segments[key * view.key_segment_stride];
    return id < low || id > high;
  };
  while (sight.begin < sight.end && outside(sight.begin)) ++sight.begin;
  while (sight.begin < sight.end && outside(sight.end - 1)) --sight.end;
  if (block.segment_low == low && low == high) {
    bool all = true;
    for (int64_t key = sight.begin; all && key < sight.end; ++key) all = !outside(key);
    // Groups start at multiples of kRows. If the range does not, its groups contain keys of other segments.
    sight.segments = !all || sight.begin % kRows != 0 || (sight.end % kRows != 0 && sight.end != view.key_length);
  }
}

// Returns kAll, kNone or kMixed: how many pairs in the groups of `sight` the visibility rule shows.
inline Shown shown_by_rule(const ScoreView& view, const QueryBlock& block, const TileSight& sight) {
  if (!view.visible) return Shown::kAll;
  return view.shown(positions_of(block), {sight.begin / kRows * kRows, std::min(round_up(sight.end, kRows), view.key_length)});
}

// Returns the first key tile, from `tile` on, in which the block may see a key by the lists and the visibility rule; a
// value of at least `end` if there is none. Tiles that the rule hides are skipped in stretches that double, then halve,
// so finding a window costs the logarithm of the distance to it.
inline int64_t next_tile(const ScoreView& view, const QueryBlock& block, int64_t tile, int64_t end) {
  if (tile < end && view.lists) {
    const int64_t key = next_listed(view, block, tile);
    tile = key < end ? key / kKeyTile * kKeyTile : end;
  }
  if (!view.visible) return tile;
  const Range positions = positions_of(block);
  int64_t stretch = kKeyTile;
  for (bool grows = true; tile < end;) {
    if (view.shown(positions, {tile, std::min(tile + stretch, end)}) == Shown::kNone) {
      tile += stretch;
      if (grows) stretch *= 2;
    } else if (stretch == kKeyTile) {
      break;
    } else {
      stretch /= 2, grows = false;
    }
  }
  return tile;
}

// Computes the visibility bits from mask, lists and rule, and narrows `sight` to keys that some lane may see.
inline HWY_NOINLINE void look_at_bits(const TileContext& in, bool ruled, TileSight& sight) {
  const int64_t tile = sight.begin / kKeyTile * kKeyTile;
  const int64_t begin = sight.begin / kRows * kRows;
  const int64_t end = std::min({round_up(sight.end, kRows), tile + kKeyTile, in.view.key_length});
  std::fill(in.scratch.visible + (end - tile), in.scratch.visible + std::min<int64_t>(round_up(end - tile, kRows), kKeyTile), uint64_t{0});
  pack_mask(in.view, in.block, begin, end, in.scratch.visible + (begin - tile));
  if (in.view.lists) keep_listed(in.view, in.block, begin, end, in.scratch.visible + (begin - tile));
  if (ruled) keep_ruled(in, begin, end, in.scratch.visible + (begin - tile));
  const int lanes = in.block.vectors * kLanes;
  const uint64_t every = ~uint64_t{0} >> (64 - lanes);
  uint64_t all = every;
  for (int64_t key = begin; key < end; ++key) all &= in.scratch.visible[key - tile];
  sight.mask = all != every;
  while (sight.begin < sight.end && in.scratch.visible[sight.begin - tile] == 0) ++sight.begin;
  while (sight.begin < sight.end && in.scratch.visible[sight.end - 1 - tile] == 0) --sight.end;
}

inline void pack_offsets(const TileContext& in, const TileSight& sight, Range keys,
                         float* to);  // relative-inl.h

/// Returns the part of the keys `of` that the block may see, and packs its biases and visibility bits. `of` begins at a
/// multiple of kRows and lies in the key tile that begins at key `tile`, a multiple of kKeyTile.
inline TileSight prepare_tile(const TileContext& in, int64_t tile, Range of) {
  TileSight sight;
  sight.begin = std::max(of.begin, in.block.first_key());
  sight.end = std::min({of.end, in.view.key_length, in.block.last_key()});
  if (!sight.empty() && in.view.key_segments) look_at_segments(in.view, in.block, sight);
  if (!sight.empty() && in.view.lists && next_listed(in.view, in.block, sight.begin) >= sight.end) sight.end = sight.begin;
  const Shown shown = sight.empty() ? Shown::kNone : shown_by_rule(in.view, in.block, sight);
  if (shown == Shown::kNone) sight.end = sight.begin;
  const bool ruled = shown == Shown::kMixed;
  if (!sight.empty() && (in.view.mask || in.view.lists || ruled)) look_at_bits(in, ruled, sight);
  if (sight.empty()) return sight;
  sight.begin = sight.begin / kRows * kRows;
  sight.tile = tile;
  sight.keys = in.view.pages ? tile_panels(in.view, tile, sight.begin, sight.end) : in.view.keys + tile * in.view.key_stride;
  if (!in.view.terms) return sight;
  sight.floors = in.scratch.careful || terms_may_hide(in.view);
  int64_t packed = 0;
  for (const ScoreTerm& term : *in.view.terms) {
    if (term.kind == ScoreTerm::Kind::kRule) prepare_rule(term.rule, in.block, in.scratch, sight.begin, round_up(sight.end, kRows));
    if (!is_packed(term)) continue;
    float* to = in.scratch.bias + (packed++ * kKeyTile + sight.begin - tile) * kBlock;
    if (term.kind == ScoreTerm::Kind::kOffsets) {
      pack_offsets(in, sight, {sight.begin, round_up(sight.end, kRows)}, to);
      continue;
    }
    (term.per_edge ? pack_edges : pack_bias)(in.view, term, in.block, sight.begin, round_up(sight.end, kRows), to);
  }
  return sight;
}
/// The same for the whole key tile.
inline TileSight prepare_tile(const TileContext& in, int64_t tile) { return prepare_tile(in, tile, {tile, tile + kKeyTile}); }

// --- blocks of rows -------------------------------------------------------------------------------------------------

/// The number of rows of the next block if `left` rows remain: kBlock, or fewer at the end. If the last block would have
/// only one vector, this block has two and leaves it two, because a kernel with one vector is bound by loads.
inline int rows_of_block(int64_t left) {
  const int64_t vectors = (left + kLanes - 1) / kLanes;
  return static_cast<int>(std::min<int64_t>(left, vectors == kVectors + 1 ? 2 * kLanes : kBlock));
}

/// Number of query blocks of a head that are computed together, interleaved by key tile, so that a tile is read from
/// memory once for all of them.
inline constexpr int kTogether = 8;

/// Up to kTogether jobs, constructed in place. An array of std::optional would first zero 50 KB, for blocks that take
/// 6 µs.
template <class Job>
class JobsTogether {
 public:
  JobsTogether() = default;
  JobsTogether(const JobsTogether&) = delete;
  JobsTogether& operator=(const JobsTogether&) = delete;
  ~JobsTogether() { std::destroy(begin(), end()); }
  template <class... Arguments>
  Job& emplace_back(Arguments&&... arguments) {
    Job* job = std::construct_at(begin() + count_, std::forward<Arguments>(arguments)...);
    ++count_;
    return *job;
  }
  Job* begin() { return std::launder(reinterpret_cast<Job*>(room_)); }
  Job* end() { return begin() + count_; }
  int count() const { return count_; }

 private:
  alignas(Job) std::byte room_[kTogether * sizeof(Job)];
  int count_ = 0;
};

/// Runs jobs interleaved: all jobs finish one key tile before any continues with the next. job.take_tile() does the work
/// at key tile job.tile and sets job.tile to the job's next tile, or to at least job.last when the job is done.
template <class Job>
void interleave_key_tiles(JobsTogether<Job>& jobs) {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  for (int64_t tile = 0; tile < kNone;) {
    int64_t next = kNone;
    for (Job& job : jobs) {
      if (job.tile == tile && tile < job.last) job.take_tile();
      if (job.tile < job.last) next = std::min(next, job.tile);
    }
    tile = next;
  }
}

// --- key layouts ----------------------------------------------------------------------------------------------------

struct RowMajor {
  // Addresses of keys 0, 3 and 6. The other keys lie one or two strides further, which an x86 address can express.
  const float *p0, *p3, *p6;
  int64_t stride;
  RowMajor(const float* base, int64_t key_stride) : p0(base), p3(base + 3 * key_stride), p6(base + 6 * key_stride), stride(key_stride) {}
  template <int R>
  HWY_INLINE const float* at() const {
    return (R < 3 ? p0 : R < 6 ? p3 : p6) + (R % 3) * stride;
  }
  HWY_INLINE void next_channel() { ++p0, ++p3, ++p6; }
};

struct Panel {
  const float* p;
  template <int R>
  HWY_INLINE const float* at() const {
    return p + R;
  }
  HWY_INLINE void next_channel() { p += KVPage::kPanel; }
};

// --- score functions ------------------------------------------------------------------------------------------------

// Continues the chains s by `step` over ascending channels. qt: [d_k][kBlock], beginning at the first of V vectors.
template <int V, class Step, class Address>
HWY_INLINE void add_channels(Step step, const float* HWY_RESTRICT qt, Address keys, int64_t d_k, Scores<V>& s) {
  const F32 d;
#pragma GCC unroll 2
  for (int64_t channel = 0; channel < d_k; ++channel) {
    Floats q[V];
    step.enter(channel);
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { q[v] = hn::Load(d, qt + v * kLanes); });
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      const Floats k = hn::Set(d, *keys.template at<r>());
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = step(k, q[v], s.c[r * V + v]); });
    });
    qt += kBlock;
    keys.next_channel();
  }
}
template <int V>
HWY_INLINE void clear(Scores<V>& s) {
  unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s.c[i] = hn::Zero(F32()); });
}
// s += keys·qt
template <int V, class Address>
HWY_INLINE void add_dot_products(const float* HWY_RESTRICT qt, Address keys, int64_t d_k, Scores<V>& s) {
  add_channels<V>(DotStep(), qt, keys, d_k, s);
}
template <int V, class Address>
HWY_INLINE void dot_products(const float* HWY_RESTRICT qt, Address keys, int64_t d_k, Scores<V>& s) {
  clear(s);
  add_dot_products<V>(qt, keys, d_k, s);
}

// s = keys·qt over words of two bf16 channels, then multiplied by product_factor.
template <int V, class Address>
HWY_INLINE void bf16_dot_products(const ScoreView& view, const float* HWY_RESTRICT qt, Address keys, Scores<V>& s) {
  clear(s);
  add_channels<V>(Bf16DotStep(), qt, keys, view.d_k, s);
  const Floats factor = hn::Set(F32(), view.product_factor);
  unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s.c[i] = s.c[i] * factor; });
}

// An epilogue may declare that it uses one kind of products only. The other kernels are then not compiled for it.
template <class Epilogue>
constexpr bool is_bf16_dot_only() {
  if constexpr (requires { Epilogue::kBf16DotOnly; }) return Epilogue::kBf16DotOnly;
  return false;
}
template <class Epilogue>
constexpr bool is_amx_only() {
  if constexpr (requires { Epilogue::kAmxOnly; }) return Epilogue::kAmxOnly;
  return false;
}
template <class Epilogue>
constexpr bool may_use_amx() {
  return kHasAmx && !is_bf16_dot_only<Epilogue>();
}
template <class Epilogue>
HWY_INLINE bool by_amx(const ScoreView& view) {
  return may_use_amx<Epilogue>() && (is_amx_only<Epilogue>() || view.amx_step > 0);
}

// --- terms, one vector of (query, key) pairs at a time: lanes may be queries or keys --------------------------------

HWY_INLINE Floats term_alibi(Floats s, Floats slope, Floats position, Floats key) {
  return hn::NegMulAdd(slope, hn::Abs(position - key), s);
}
// Pairs that are already hidden stay hidden: −∞ does not become −cap. Few scores come near the cap; the others need no
// division.
HWY_INLINE Floats term_soft_cap(Floats s, Floats cap, Floats inverse_cap) {
  const Floats x = s * inverse_cap;
  const Lanes near = is_near(x);
  const Floats inner = near_tanh(s, x);
  if (HWY_LIKELY(hn::AllTrue(F32(), near))) return inner;
  return hn::IfThenElse(hn::Or(near, hn::Lt(s, hn::Set(F32(), kVisible))), hn::IfThenElse(near, inner, s), cap * tanh_of(x));
}
// The same for a group, [key][vector]. It suffices to test the largest magnitude: rounding is monotone, so if that one
// times inverse_cap is near 0, all are.
template <int N>
HWY_INLINE void soft_cap_group(float cap, float inverse_cap, Floats (&s)[N]) {
  const F32 d;
  const Floats inverse = hn::Set(d, inverse_cap);
  Floats largest[4];
  unroll<4>([&](auto i) CLEARHEAD_INLINE_LAMBDA { largest[i] = s[i]; });
  unroll<N - 4>([&](auto i) CLEARHEAD_INLINE_LAMBDA { largest[i % 4] = larger_magnitude(s[i + 4], largest[i % 4]); });
  const auto is_low = [&](int i) CLEARHEAD_INLINE_LAMBDA { return is_near(largest[i] * inverse); };
  if (HWY_LIKELY(hn::AllTrue(d, hn::And(hn::And(is_low(0), is_low(1)), hn::And(is_low(2), is_low(3)))))) {
    unroll<N>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s[i] = near_tanh(s[i], s[i] * inverse); });
    return;
  }
  alignas(64) float room[N * kLanes];
  unroll<N>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::Store(s[i], d, room + i * kLanes); });
  for (int i = 0; i < N * kLanes; i += kLanes) hn::Store(term_soft_cap(hn::Load(d, room + i), hn::Set(d, cap), inverse), d, room + i);
  unroll<N>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s[i] = hn::Load(d, room + i * kLanes); });
}
// A bias of −∞ hides the pair whatever its score is, even NaN.
HWY_INLINE Floats term_dense(Floats s, Floats bias) {
  const F32 d;
  const Lanes hides = hn::Eq(bias, hn::Set(d, -std::numeric_limits<float>::infinity()));
  return hn::IfThenElse(hides, hn::Set(d, kHidden), hn::MulAdd(bias, hn::Set(d, kLog2E), s));
}
// Raises −∞ to kHidden, for which 2^x is 0 rather than NaN. NaN stays NaN because of the order of the operands of Max.
HWY_INLINE Floats term_floor(Floats s) { return hn::Max(hn::Set(F32(), kHidden), s); }

// The address of the bias of packed term `index` for tile-relative key `key`.
HWY_INLINE const float* bias_at(const TileScratch& scratch, int64_t index, int64_t key) {
  return scratch.bias + (index * kKeyTile + key) * kBlock;
}

// An epilogue that later computes gradients of the terms has before_term(term, s), which receives the input scores of
// each term.
template <int V, class Epilogue>
HWY_INLINE void apply_terms(const TileContext& in, int64_t key, int first_vector, Scores<V>& s, Epilogue& epilogue) {
  const F32 d;
  int64_t packed = 0;
  for (const ScoreTerm& term : *in.view.terms) {
    if constexpr (requires { epilogue.before_term(term, s); }) epilogue.before_term(term, s);
    if (term.kind == ScoreTerm::Kind::kAlibi) {
      const Floats slope = hn::Set(d, term.slope);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Floats j = hn::Set(d, static_cast<float>(key + r));
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
          const Floats position = hn::Load(d, in.block.position + (first_vector + v) * kLanes);
          s.c[r * V + v] = term_alibi(s.c[r * V + v], slope, position, j);
        });
      });
    } else if (term.kind == ScoreTerm::Kind::kSoftCap) {
      soft_cap_group(term.cap, term.inverse_cap, s.c);
    } else if (term.kind == ScoreTerm::Kind::kRule) {
      apply_rule<V>(term.rule, in.block, in.scratch, key, first_vector, s);
    } else {
      const float* bias = bias_at(in.scratch, packed++, key % kKeyTile) + first_vector * kLanes;
      if (term.kind == ScoreTerm::Kind::kOffsets) {
        unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
          unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = s.c[r * V + v] + hn::Load(d, bias + r * kBlock + v * kLanes); });
        });
        continue;
      }
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
          s.c[r * V + v] = term_dense(s.c[r * V + v], hn::Load(d, bias + r * kBlock + v * kLanes));
        });
      });
    }
  }
}

// --- visibility -----------------------------------------------------------------------------------------------------

// The mechanisms that may hide pairs in one group.
struct Hiding {
  bool band = false, segments = false, mask = false;
};

template <int V>
HWY_INLINE void hide(const TileContext& in, int64_t key, int first_vector, const Hiding& hiding, Scores<V>& s) {
  const F32 d;
  const I32 di;
  const Floats hidden = hn::Set(d, kHidden);
  if (hiding.band) {
    unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
      const Ints low = hn::Load(di, in.block.low + (first_vector + v) * kLanes),
                 high = hn::Load(di, in.block.high + (first_vector + v) * kLanes);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        const Ints j = hn::Set(di, static_cast<int32_t>(key + r));
        const auto outside = hn::Or(hn::Lt(j, low), hn::Not(hn::Lt(j, high)));
        s.c[r * V + v] = hn::IfThenElse(hn::RebindMask(d, outside), hidden, s.c[r * V + v]);
      });
    });
  }
  if (hiding.segments) {
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      // Keys past the end are hidden by the band. Negative ids match nothing: query ids below 0 are stored as −1, key ids
      // as −2.
      const int64_t j = std::min<int64_t>(key + r, in.view.key_length - 1);
      const int32_t id = in.view.key_segments[j * in.view.key_segment_stride];
      const Ints own = hn::Set(di, id < 0 ? -2 : id);
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const auto same = hn::Eq(own, hn::Load(di, in.block.segment + (first_vector + v) * kLanes));
        s.c[r * V + v] = hn::IfThenElse(hn::RebindMask(d, same), s.c[r * V + v], hidden);
      });
    });
  }
  if (hiding.mask) {
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      const uint8_t* bits = reinterpret_cast<const uint8_t*>(&in.scratch.visible[key % kKeyTile + r]) + first_vector * (kLanes / 8);
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const Lanes visible = hn::LoadMaskBits(d, bits + v * (kLanes / 8));
        s.c[r * V + v] = hn::IfThenElse(visible, s.c[r * V + v], hidden);
      });
    });
  }
}

// --- one group, one key tile ----------------------------------------------------------------------------------------

// The address, within a panel, of the group of kRows keys from `key`.
HWY_INLINE Panel panel_of(const ScoreView& view, const TileSight& sight, int64_t key) {
  const uint64_t in_page = static_cast<uint64_t>(key - sight.tile), in_panel = in_page % KVPage::kPanel;
  return Panel{sight.keys + (in_page - in_panel) * static_cast<uint64_t>(view.d_k) + in_panel};
}

// Copies a row-major group that extends past the last key, repeating the last row. The extra scores are hidden.
inline HWY_NOINLINE RowMajor copied_tail(const ScoreView& view, const TileScratch& scratch, int64_t key) {
  for (int64_t r = 0; r < kRows; ++r) {
    const float* from = view.keys + std::min(key + r, view.key_length - 1) * view.key_stride;
    std::copy(from, from + view.d_k, scratch.tail + r * view.d_k);
  }
  return RowMajor(scratch.tail, view.d_k);
}

HWY_INLINE RowMajor rows_of(const ScoreView& view, const TileScratch& scratch, const TileSight& sight, int64_t key) {
  if (HWY_UNLIKELY(key + kRows > view.key_length)) return copied_tail(view, scratch, key);
  return RowMajor(sight.keys + (key - sight.tile) * view.key_stride, view.key_stride);
}

// Prefetches the rows of a group. The hardware prefetcher does not follow rows that are not adjacent (heads interleaved
// in a row), so the kernel prefetches two groups ahead.
HWY_INLINE void fetch_rows(const ScoreView& view, const float* rows) {
  constexpr int64_t kLine = 16;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < view.d_k; c += kLine) hwy::Prefetch(rows + r * view.key_stride + c);
  }
}

// Prefetches the biases of the next key tile: every 16 keys, one cache line of each query's row, into L2 (they do not fit
// in L1). 48 rows are more streams than the hardware prefetcher follows.
HWY_INLINE void fetch_biases(const ScoreView& view, const QueryBlock& block, int64_t key) {
  constexpr int64_t kLine = 16;
  if (key % kLine != 0) return;
  for (const ScoreTerm& term : *view.terms) {
    if (term.kind != ScoreTerm::Kind::kDense || term.per_edge || term.query_stride == 0) continue;
    for (int i = 0; i < block.vectors * kLanes; ++i)
      __builtin_prefetch(term.bias + block.query[i] * term.query_stride + (key + kKeyTile) * term.key_stride, 0, 2);
  }
}

// --- a call's only term ---------------------------------------------------------------------------------------------

// A call's only term, applied in registers to groups that every query sees. (general_group, in contrast, passes scores
// from term to term through memory.) Used with epilogues that have kTakesTerm: their blocks are computed again with
// `careful` if a result is not finite.
struct NoTerm {
  template <int V>
  HWY_INLINE void operator()(int64_t, Scores<V>&) const {}
};
struct AlibiTerm {
  const float* position;
  float slope;
  explicit AlibiTerm(const TileContext& of) : position(of.block.position), slope(of.view.terms->front().slope) {}
  template <int V>
  HWY_INLINE void operator()(int64_t key, Scores<V>& s) const {
    const F32 d;
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      const Floats j = hn::Set(d, static_cast<float>(key + r));
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        s.c[r * V + v] = term_alibi(s.c[r * V + v], hn::Set(d, slope), hn::Load(d, position + v * kLanes), j);
      });
    });
  }
};
struct SoftCapTerm {
  float cap, inverse_cap;
  explicit SoftCapTerm(const TileContext& of) : cap(of.view.terms->front().cap), inverse_cap(of.view.terms->front().inverse_cap) {}
  template <int V>
  HWY_INLINE void operator()(int64_t, Scores<V>& s) const {
    soft_cap_group(cap, inverse_cap, s.c);
  }
};
struct DenseTerm {
  const TileContext& of;
  explicit DenseTerm(const TileContext& in) : of(in) {}
  template <int V>
  HWY_INLINE void operator()(int64_t key, Scores<V>& s) const {
    const F32 d;
    fetch_biases(of.view, of.block, key);
    const float* bias = bias_at(of.scratch, 0, key % kKeyTile);
    unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const Floats added = hn::MulAdd(hn::Load(d, bias + r * kBlock + v * kLanes), hn::Set(d, kLog2E), s.c[r * V + v]);
        s.c[r * V + v] = term_floor(added);  // equals term_dense, except where the score is NaN
      });
    });
  }
};

// Calls f with the call's only term, or with NoTerm.
template <class Epilogue, class F>
HWY_INLINE void with_term(const TileContext& in, F&& f) {
  if constexpr (requires { Epilogue::kTakesTerm; }) {
    if (in.view.terms) {
      const ScoreTerm::Kind kind = in.view.terms->front().kind;
      if (kind == ScoreTerm::Kind::kAlibi) return f(AlibiTerm(in));
      if (kind == ScoreTerm::Kind::kSoftCap) return f(SoftCapTerm(in));
      return f(DenseTerm(in));
    }
  }
  f(NoTerm());
}
template <class Epilogue>
inline bool takes_terms(const ScoreView& view, const QueryBlock& block) {
  if (!view.terms) return true;
  if (!(requires { Epilogue::kTakesTerm; }) || view.terms->size() != 1 || block.vectors != kVectors || view.amx_step > 0) return false;
  const ScoreTerm::Kind kind = view.terms->front().kind;
  return kind == ScoreTerm::Kind::kAlibi || kind == ScoreTerm::Kind::kSoftCap || kind == ScoreTerm::Kind::kDense;
}

// Computes the groups of keys [begin, end), which every query of the block sees, if scores are dot products with at most
// one term.
template <int V, class Term, class Epilogue>
HWY_NOINLINE void plain_groups(const ScoreView& view, const QueryBlock& block, const TileSight& sight, int64_t begin, int64_t end,
                               const Term& term, Epilogue& epilogue) {
  const float* qt = block.qt;
  const int64_t d_k = view.d_k;
  if constexpr (V == kVectors && is_bf16_dot_only<Epilogue>() && std::is_same_v<Term, NoTerm> && requires { Epilogue::kLeastWoven; }) {
    if (d_k >= Epilogue::kLeastWoven) return epilogue.template take_groups<Epilogue::kSums>(view, qt, sight, begin, end);
  }
  if (is_bf16_dot_only<Epilogue>() || (kHasBf16Dot && view.is_bf16)) {
    for (int64_t key = begin; key < end; key += kRows) {
      Scores<V> s;
      bf16_dot_products<V>(view, qt, RowMajor(sight.keys + (key - sight.tile) * view.key_stride, view.key_stride), s);
      term(key, s);
      epilogue(s, key, 0);
    }
    return;
  }
  if constexpr (is_bf16_dot_only<Epilogue>()) return;
  if (view.pages) {
    for (int64_t key = begin; key < end; key += kRows) {
      Scores<V> s;
      dot_products<V>(qt, panel_of(view, sight, key), d_k, s);
      term(key, s);
      epilogue(s, key, 0);
    }
  } else {
    const bool apart = view.key_stride != d_k;
    for (int64_t key = begin; key < end; key += kRows) {
      Scores<V> s;
      if (apart) fetch_rows(view, sight.keys + (key + 2 * kRows - sight.tile) * view.key_stride);
      dot_products<V>(qt, RowMajor(sight.keys + (key - sight.tile) * view.key_stride, view.key_stride), d_k, s);
      term(key, s);
      epilogue(s, key, 0);
    }
  }
}

// The scores of one query with keys in lanes: the same chains and so the same bits, in one vector where queries in lanes
// would need kRows.
template <class Step, class Address>
HWY_INLINE void score_one_query(Step step, const float* qt, Address keys, int64_t d_k, float* to) {
  const F32 d;
  constexpr int64_t kSome = 32;
  alignas(64) float turned[kSome * kLanes] = {};
  Floats s = hn::Zero(d);
  for (int64_t first = 0; first < d_k; first += kSome) {
    const int64_t count = std::min(kSome, d_k - first);
    for (int64_t c = 0; c < count; ++c) {
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { turned[c * kLanes + r] = *keys.template at<r>(); });
      keys.next_channel();
    }
    for (int64_t c = 0; c < count; ++c) {
      step.enter(first + c);
      s = step(hn::Load(d, turned + c * kLanes), hn::Set(d, qt[(first + c) * kBlock]), s);
    }
  }
  hn::Store(s, d, turned);
  unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { hn::Store(hn::Set(d, turned[r]), d, to + r * kLanes); });
}

// Scores of a group whose score function is not a dot product: to[key][vector]. Computes one vector of queries at a time,
// because φ needs the registers.
inline HWY_NOINLINE void other_scores(const TileContext& in, const float* qt, int vectors, const TileSight& sight, int64_t key, float* to) {
  const F32 d;
  const auto score = [&](auto step, auto keys) CLEARHEAD_INLINE_LAMBDA {
    if (in.block.count == 1) return score_one_query(step, qt, keys, in.view.d_k, to);
    for (int v = 0; v < vectors; ++v) {
      Scores<1> s;
      clear(s);
      add_channels<1>(step, qt + v * kLanes, keys, in.view.d_k, s);
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA { hn::Store(s.c[r], d, to + (r * vectors + v) * kLanes); });
    }
  };
  with_step(in.view.function, [&](auto step) CLEARHEAD_INLINE_LAMBDA {
    in.view.pages ? score(step, panel_of(in.view, sight, key)) : score(step, rows_of(in.view, in.scratch, sight, key));
  });
}

// Computes any score function for the group of kRows keys from `key`. The group may extend past the last key.
template <int V, class Epilogue>
HWY_INLINE void group_products(const TileContext& in, const TileSight& sight, int64_t key, int first_vector, Scores<V>& s) {
  const float* qt = in.block.qt + first_vector * kLanes;
  if constexpr (may_use_amx<Epilogue>()) {
    if (by_amx<Epilogue>(in.view)) return amx_products<V>(in, key, first_vector, s);
  }
  if constexpr (is_amx_only<Epilogue>()) return;
  if (is_bf16_dot_only<Epilogue>() || (kHasBf16Dot && in.view.is_bf16)) {
    bf16_dot_products<V>(in.view, qt, rows_of(in.view, in.scratch, sight, key), s);
  } else if (HWY_UNLIKELY(!in.view.function.is_dot())) {
    alignas(64) float scores[kRows * V * kLanes];
    other_scores(in, qt, V, sight, key, scores);
    unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s.c[i] = hn::Load(F32(), scores + i * kLanes); });
  } else if (in.view.pages) {
    dot_products<V>(qt, panel_of(in.view, sight, key), in.view.d_k, s);
  } else {
    dot_products<V>(qt, rows_of(in.view, in.scratch, sight, key), in.view.d_k, s);
  }
}

// Computes a group in the general case: with several terms, with a score function other than the dot product, or with
// hidden pairs.
template <int V, class Epilogue>
HWY_NOINLINE void general_group(const TileContext& in, const TileSight& sight, int64_t key, int first_vector, const Hiding& hiding,
                                Epilogue& epilogue) {
  Scores<V> s;
  group_products<V, Epilogue>(in, sight, key, first_vector, s);
  if (in.view.terms) apply_terms<V>(in, key, first_vector, s, epilogue);
  if (sight.floors) unroll<kRows * V>([&](auto i) CLEARHEAD_INLINE_LAMBDA { s.c[i] = term_floor(s.c[i]); });
  hide<V>(in, key, first_vector, hiding, s);
  epilogue(s, key, first_vector);
}

// For a key tile with visibility bits: the lanes that see any of the kRows keys from `key`.
HWY_INLINE uint64_t lanes_that_see(const TileScratch& scratch, int64_t key) {
  uint64_t any = 0;
  for (int64_t r = 0; r < kRows; ++r) any |= scratch.visible[key % kKeyTile + r];
  return any;
}

template <class Epilogue>
HWY_INLINE void edge_group(const TileContext& in, const TileSight& sight, int64_t key, Epilogue& epilogue) {
  int first = 0, last = in.block.vectors;
  while (first < last && !in.block.may_see(first, key, key + kRows)) ++first;
  while (last > first && !in.block.may_see(last - 1, key, key + kRows)) --last;
  if (sight.mask) {
    constexpr uint64_t kVector = (uint64_t{1} << kLanes) - 1;
    const uint64_t any = lanes_that_see(in.scratch, key);
    while (first < last && (any >> first * kLanes & kVector) == 0) ++first;
    while (last > first && (any >> (last - 1) * kLanes & kVector) == 0) --last;
  }
  if (first == last) return;
  bool inside = true;
  for (int v = first; v < last; ++v) inside = inside && in.block.all_low[v] <= key && key + kRows <= in.block.all_high[v];
  const Hiding hiding{!inside, sight.segments, sight.mask};
  if (last - first == 3) return general_group<3>(in, sight, key, first, hiding, epilogue);
  if (last - first == 2) return general_group<2>(in, sight, key, first, hiding, epilogue);
  general_group<1>(in, sight, key, first, hiding, epilogue);
}

/// Calls epilogue(Scores<V>&, key, first_vector) for the groups of a key tile in ascending order.
template <class Epilogue>
HWY_INLINE void for_each_group(const TileContext& in, const TileSight& sight, Epilogue& epilogue) {
  int64_t key = sight.begin;
  const bool amx = by_amx<Epilogue>(in.view);
  if (amx) open_amx(in.view, in.scratch);
  const bool plain =
      in.view.function.is_dot() && takes_terms<Epilogue>(in.view, in.block) && !sight.segments && !sight.mask && !in.scratch.careful;
  if (plain) {
    int64_t inner_begin = key, inner_end = sight.end;
    for (int v = 0; v < in.block.vectors; ++v) {
      inner_begin = std::max<int64_t>(inner_begin, in.block.all_low[v]);
      inner_end = std::min<int64_t>(inner_end, in.block.all_high[v]);
    }
    inner_begin = (inner_begin + kRows - 1) / kRows * kRows;
    inner_end = inner_end / kRows * kRows;
    if (inner_begin < inner_end) {
      for (; key < inner_begin; key += kRows) {
        if (in.view.terms) fetch_biases(in.view, in.block, key);
        edge_group(in, sight, key, epilogue);
      }
      const auto take = [&](auto v) {
        if constexpr (may_use_amx<Epilogue>()) {
          if (amx) return plain_amx<v>(in, inner_begin, inner_end, epilogue);
        }
        if constexpr (!is_amx_only<Epilogue>()) {
          with_term<Epilogue>(in, [&](const auto& term) {
            if constexpr (v == kVectors || std::is_same_v<decltype(term), const NoTerm&>)
              plain_groups<v>(in.view, in.block, sight, inner_begin, inner_end, term, epilogue);
          });
        }
      };
      with_vectors(in.block.vectors, take);
      key = inner_end;
    }
  }
  for (; key < sight.end; key += kRows) {
    if (in.view.terms) fetch_biases(in.view, in.block, key);
    edge_group(in, sight, key, epilogue);
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#include "backends/cpu/score/relative-inl.h"

#endif  // per-target include guard
