// Moves tensors into lane order and back: packs queries, biases and masks, and stores outputs. Included once per target.
//
// A block is up to kBlock queries, one per lane, in `vectors` vectors. Lanes past the last query repeat it; their results
// are not stored.
#if defined(CLEARHEAD_CPU_SCORE_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_PACK_INL_H_
#undef CLEARHEAD_CPU_SCORE_PACK_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_PACK_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "backends/cpu/score/score_view.h"
#include "backends/cpu/simd/simd-inl.h"
#include "clearhead/look.h"
#include "spec/keep.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Queries in lanes, and the data about them that visibility and terms need.
struct QueryBlock {
  float* qt = nullptr;       // [d_k][kBlock], times ScoreView::query_factor; 64-byte aligned, owned by the caller
  int count = 0;             // number of queries
  int vectors = 0;           // number of vectors of kLanes lanes
  bool consecutive = false;  // the lanes hold consecutive queries, in ascending order
  alignas(64) int64_t query[kBlock];
  alignas(64) float position[kBlock];
  alignas(64) int32_t low[kBlock], high[kBlock];  // the band: keys [low, high)
  alignas(64) int32_t segment[kBlock];            // segment id; −1 if the query sees nothing
  int32_t segment_low = 0, segment_high = 0;
  // Set only if the description has dropout or a Gaussian, whose factors differ between (query, key) pairs.
  alignas(64) float centre[kBlock];
  alignas(64) uint32_t noise_low[kBlock], noise_high[kBlock];
  // Per vector, and by the band alone: keys [any_low, any_high) that some lane sees, [all_low, all_high) that all see.
  int32_t any_low[kVectors], any_high[kVectors], all_low[kVectors], all_high[kVectors];

  bool may_see(int v, int64_t begin, int64_t end) const { return any_low[v] < end && begin < any_high[v]; }
  // The keys that some query sees, by the band alone.
  int64_t first_key() const { return *std::min_element(any_low, any_low + vectors); }
  int64_t last_key() const { return *std::max_element(any_high, any_high + vectors); }
};

// A thread's scratch for one key tile. Its size in floats is tile_scratch_floats().
struct TileScratch {
  float* bias = nullptr;        // [packed term][kKeyTile][kBlock]
  float* tail = nullptr;        // [kRows][d_k]: copies of the last keys of row-major K
  uint64_t* visible = nullptr;  // [kKeyTile]: bit i says whether lane i sees the key
  float* rules = nullptr;       // scratch of rules (rule-inl.h)
  float* offsets = nullptr;     // scratch of a relative score (relative-inl.h)
  float* amx = nullptr;         // [32][kBlock]: AMX products of keys and queries (amx-inl.h)
  float* amx_tail = nullptr;    // [32][d_k]: as `tail`, for AMX
  int64_t* amx_key = nullptr;   // the first key of the products in `amx`; −1 if there are none
  bool careful = false;         // operands may be ±inf or NaN: every group is computed by the general kernel
};

// One head, a block of its queries, and the thread's scratch for one key tile.
struct TileContext {
  const ScoreView& view;
  const QueryBlock& block;
  const TileScratch& scratch;
};

// Returns true if the term's values are packed once per key tile.
inline bool is_packed(const ScoreTerm& term) { return term.kind == ScoreTerm::Kind::kDense || term.kind == ScoreTerm::Kind::kOffsets; }
inline int64_t packed_terms(const ScoreView& view) {
  return view.terms ? std::count_if(view.terms->begin(), view.terms->end(), is_packed) : 0;
}
// Upper bound on the table rows of a relative score that a block of queries and a key tile use.
inline constexpr int64_t kOffsetRows = kKeyTile + kBlock + kRows;
inline int64_t offset_floats(const ScoreView& view) {
  if (!view.relative) return 0;
  constexpr int64_t kWindow = 4 * kLanes;
  return view.d_k * kBlock + kOffsetRows * kBlock + view.d_k * (kKeyTile + kWindow) + kRows * kWindow;
}
// Returns true if a term may hide pairs: a bias of −∞ does, and so does a rule that returns −∞.
inline bool terms_may_hide(const ScoreView& view) {
  const auto hides = [](const ScoreTerm& t) { return t.kind == ScoreTerm::Kind::kDense || t.kind == ScoreTerm::Kind::kRule; };
  return view.terms && std::any_of(view.terms->begin(), view.terms->end(), hides);
}
inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }
inline constexpr int64_t kAmxKeys = 32;  // keys of one AMX product with queries (amx-inl.h)
inline int64_t amx_floats(const ScoreView& view) {
  constexpr int64_t kLine = 16;
  return view.amx_step > 0 ? kAmxKeys * (kBlock + view.d_k) + kLine : 0;
}
inline int64_t tile_scratch_floats(const ScoreView& view) {
  return packed_terms(view) * kKeyTile * kBlock + round_up(kRows * view.d_k, 16) + 2 * kKeyTile + amx_floats(view) + offset_floats(view) +
         view.rule_floats;
}
// `memory` is 64-byte aligned and holds tile_scratch_floats(view) floats.
inline TileScratch make_tile_scratch(const ScoreView& view, float* memory) {
  TileScratch scratch;
  scratch.bias = memory;
  scratch.tail = memory + packed_terms(view) * kKeyTile * kBlock;
  scratch.visible = reinterpret_cast<uint64_t*>(scratch.tail + round_up(kRows * view.d_k, 16));
  scratch.amx = reinterpret_cast<float*>(scratch.visible + kKeyTile);
  scratch.amx_tail = scratch.amx + kAmxKeys * kBlock;
  scratch.amx_key = reinterpret_cast<int64_t*>(scratch.amx_tail + kAmxKeys * view.d_k);
  scratch.offsets = scratch.amx + amx_floats(view);
  scratch.rules = scratch.offsets + offset_floats(view);
  return scratch;
}

// --- queries --------------------------------------------------------------------------------------------------------

inline void describe_lanes(const ScoreView& view, QueryBlock& block) {
  const int lanes = block.vectors * kLanes;
  for (int i = 0; i < lanes; ++i) {
    const int64_t query = block.query[std::min(i, block.count - 1)];
    block.query[i] = query;
    block.position[i] = static_cast<float>(view.position_of(query));
    const Range band = view.band_of(query);
    block.low[i] = static_cast<int32_t>(band.begin);
    block.high[i] = static_cast<int32_t>(band.end);
    block.segment[i] = view.query_segments ? std::max(-1, view.query_segments[query * view.query_segment_stride]) : 0;
  }
  block.consecutive = true;
  for (int i = 1; i < lanes; ++i) block.consecutive = block.consecutive && block.query[i] == block.query[0] + i;
  block.segment_low = *std::min_element(block.segment, block.segment + lanes);
  block.segment_high = *std::max_element(block.segment, block.segment + lanes);
  for (int v = 0; v < block.vectors; ++v) {
    int32_t any_low = INT32_MAX, any_high = 0, all_low = 0, all_high = INT32_MAX;
    for (int i = v * kLanes; i < (v + 1) * kLanes; ++i) {
      if (block.low[i] < block.high[i]) any_low = std::min(any_low, block.low[i]), any_high = std::max(any_high, block.high[i]);
      all_low = std::max(all_low, block.low[i]);
      all_high = std::min(all_high, block.high[i]);
    }
    block.any_low[v] = any_low;
    block.any_high[v] = any_high;
    block.all_low[v] = all_low;
    block.all_high[v] = all_high;
  }
}

/// to[channel][lane] = factor·from[lane][channel·step], to: [width][stride], 64-byte aligned.
inline HWY_NOINLINE void to_lanes(const float* const* from, int64_t step, int64_t width, int vectors, float factor, float* to,
                                  int64_t stride = kBlock) {
  const F32 d;
  const Floats scale = hn::Set(d, factor);
  const bool moves_only = factor == 1.0F;  // bf16 words are not f32 numbers and must not be multiplied
  int64_t channel = 0;
  for (; step == 1 && channel + kLanes <= width; channel += kLanes) {
    for (int v = 0; v < vectors; ++v) {
      Floats t[kLanes];
      unroll<kLanes>([&](auto i) CLEARHEAD_INLINE_LAMBDA { t[i] = hn::LoadU(d, from[v * kLanes + i] + channel); });
      transpose(t);
      float* at = to + channel * stride + v * kLanes;
      unroll<kLanes>([&](auto c) CLEARHEAD_INLINE_LAMBDA { hn::Store(moves_only ? t[c] : t[c] * scale, d, at + c * stride); });
    }
  }
  for (; step == 1 && channel + 4 <= width; channel += 4) {
    for (int v = 0; v < vectors; ++v) {
      Floats t[4];
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { t[r] = load_quarters(from + v * kLanes, r, channel); });
      transpose_4x4_blocks(t[0], t[1], t[2], t[3]);
      float* at = to + channel * stride + v * kLanes;
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { hn::Store(moves_only ? t[r] : t[r] * scale, d, at + r * stride); });
    }
  }
  for (; channel < width; ++channel) {
    for (int i = 0; i < vectors * kLanes; ++i) {
      const float x = from[i][channel * step];
      to[channel * stride + i] = moves_only ? x : x * factor;
    }
  }
}

/// to[c] = one word of two bf16: even[c·step] in the low half, and odd[c·step], or 0 if `odd` is null, in the high half.
inline void interleave(const uint16_t* even, const uint16_t* odd, int64_t step, int64_t width, float* to) {
  const auto put = [&](int64_t c, uint32_t low, uint32_t high) {
    const uint32_t word = low | high << 16;
    std::memcpy(to + c, &word, sizeof word);
  };
  if (step == 1 && odd) {
    for (int64_t c = 0; c < width; ++c) put(c, even[c], odd[c]);
  } else {
    for (int64_t c = 0; c < width; ++c) put(c, even[c * step], odd ? odd[c * step] : 0);
  }
}

// Sets the Gaussian's centres and the dropout noise of the block's lanes.
inline void describe_after(const AfterView& after, QueryBlock& block) {
  for (int i = 0; i < block.vectors * kLanes; ++i) {
    const int64_t query = block.query[i];
    if (after.centres) block.centre[i] = after.centres[query * after.centre_stride];
    if (!after.drops) continue;
    const uint64_t noise = noise_of(after.seed, after.batch, after.head, query);
    block.noise_low[i] = static_cast<uint32_t>(noise);
    block.noise_high[i] = static_cast<uint32_t>(noise >> 32);
  }
}

/// Fills a block with `count` ≤ kBlock rows of q. block.qt must point to d_k·kBlock floats.
inline HWY_NOINLINE void pack_queries(const ScoreView& view, const int64_t* rows, int count, QueryBlock& block) {
  block.count = count;
  block.vectors = (count + kLanes - 1) / kLanes;
  const float* from[kBlock];
  for (int i = 0; i < block.vectors * kLanes; ++i) {
    const int64_t row = rows[std::min(i, count - 1)];
    block.query[i] = view.query_of(row);
    from[i] = view.queries + row * view.query_stride;
  }
  describe_lanes(view, block);
  if (view.after.is_by_pair()) describe_after(view.after, block);
  to_lanes(from, view.query_channel, view.d_k, block.vectors, view.query_factor, block.qt);
}

// --- biases and masks of a key tile ---------------------------------------------------------------------------------

// Packs the bias of keys [begin, end) for every lane: to[key − begin][lane]. Keys from view.key_length on get 0; they are
// hidden.
inline HWY_NOINLINE void pack_bias(const ScoreView& view, const ScoreTerm& term, const QueryBlock& block, int64_t begin, int64_t end,
                                   float* to) {
  const F32 d;
  const int64_t last = std::min(end, view.key_length);
  for (int v = 0; v < block.vectors; ++v) {
    const float* from[kLanes];
    for (int i = 0; i < kLanes; ++i) from[i] = term.bias + block.query[v * kLanes + i] * term.query_stride;
    int64_t key = begin;
    if (term.query_stride == 0) {
      for (; key < last; ++key) hn::Store(hn::Set(d, term.bias[key * term.key_stride]), d, to + (key - begin) * kBlock + v * kLanes);
    }
    for (; term.key_stride == 1 && key + kLanes <= last; key += kLanes) {
      Floats t[kLanes];
      unroll<kLanes>([&](auto i) CLEARHEAD_INLINE_LAMBDA {
        t[i] = hn::LoadU(d, from[i] + key);
      });  // loads one cache line per row; all lines may belong to one cache set
      transpose(t);
      float* at = to + (key - begin) * kBlock + v * kLanes;
      unroll<kLanes>([&](auto k) CLEARHEAD_INLINE_LAMBDA { hn::Store(t[k], d, at + k * kBlock); });
    }
    for (; term.key_stride == 1 && key + 4 <= last; key += 4) {
      Floats t[4];
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { t[r] = load_quarters(from, r, key); });
      transpose_4x4_blocks(t[0], t[1], t[2], t[3]);
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { hn::Store(t[r], d, to + (key - begin + r) * kBlock + v * kLanes); });
    }
    for (; key < end; ++key) {
      for (int i = 0; i < kLanes; ++i) to[(key - begin) * kBlock + v * kLanes + i] = key < last ? from[i][key * term.key_stride] : 0;
    }
  }
}

// Computes the mask bits of keys [begin, end), end ≤ key_length: bit i of visible[key − begin] says whether lane i sees
// the key. Without a mask all bits are set. Works on eight mask bytes (keys) of eight rows at a time: each byte is
// reduced to 0 or 1, shifted by its row, and combined with a bitwise or.
inline HWY_NOINLINE void pack_mask(const ScoreView& view, const QueryBlock& block, int64_t begin, int64_t end, uint64_t* visible) {
  std::fill(visible, visible + (end - begin), view.mask ? uint64_t{0} : ~uint64_t{0} >> (64 - block.vectors * kLanes));
  if (!view.mask) return;
  for (int group = 0; group < block.vectors * kLanes; group += 8) {
    const uint8_t* from[8];
    for (int i = 0; i < 8; ++i) from[i] = view.mask + block.query[group + i] * view.mask_query_stride;
    int64_t key = begin;
    for (; view.mask_key_stride == 1 && key + 8 <= end; key += 8) {
      uint64_t bits = 0;
      for (int i = 0; i < 8; ++i) {
        uint64_t bytes;
        std::memcpy(&bytes, from[i] + key, 8);
        constexpr uint64_t kLow7 = 0x7f7f7f7f7f7f7f7f;
        const uint64_t ones = ((((bytes & kLow7) + kLow7) | bytes) >> 7) & 0x0101010101010101;  // 1 in each byte ≠ 0
        bits |= ones << i;
      }
      for (int k = 0; k < 8; ++k) visible[key - begin + k] |= ((bits >> (8 * k)) & 0xff) << group;
    }
    for (; key < end; ++key) {
      uint64_t bits = 0;
      for (int i = 0; i < 8; ++i) bits |= uint64_t{from[i][key * view.mask_key_stride] != 0} << i;
      visible[key - begin] |= bits << group;
    }
  }
}

// --- lists ----------------------------------------------------------------------------------------------------------

// Calls f(first lane, number of lanes, entry, keys) for each list entry of the block's queries that shows keys of
// [begin, end). Neighbouring lanes of the same query block, including lanes past the last query, share a call.
template <class F>
inline void for_each_entry(const ScoreView& view, const QueryBlock& block, int64_t begin, int64_t end, F&& f) {
  const ListView& lists = view.lists;
  const int lanes = block.vectors * kLanes;
  for (int first = 0, last = 0; first < lanes; first = last) {
    const int64_t query = block.query[first];
    while (last < lanes && block.query[last] / lists.query_block == query / lists.query_block) ++last;
    const int64_t list_end = lists.end_of(query);
    for (int64_t entry = lists.first_entry(query, begin); entry < list_end && lists.blocks[entry] * lists.key_block < end; ++entry) {
      const int64_t key = lists.blocks[entry] * lists.key_block;
      f(first, last - first, entry, Range{std::max(begin, key), std::min(end, key + lists.key_block)});
    }
  }
}

// Returns the first key, from `key` on, for which some query of the block has an entry; INT64_MAX if there is none.
inline int64_t next_listed(const ScoreView& view, const QueryBlock& block, int64_t key) {
  int64_t next = INT64_MAX, last_block = -1;
  for (int lane = 0; lane < block.vectors * kLanes; ++lane) {
    const int64_t query = block.query[lane], query_block = query / view.lists.query_block;
    if (query_block == last_block) continue;
    last_block = query_block;
    const int64_t entry = view.lists.first_entry(query, key);
    if (entry < view.lists.end_of(query)) next = std::min(next, std::max(key, view.lists.blocks[entry] * view.lists.key_block));
  }
  return next;
}

// Clears the bits of visible[key − begin] in lanes that have no list entry for the key.
inline HWY_NOINLINE void keep_listed(const ScoreView& view, const QueryBlock& block, int64_t begin, int64_t end, uint64_t* visible) {
  uint64_t listed[kKeyTile] = {};
  for_each_entry(view, block, begin, end, [&](int first, int lanes, int64_t, Range keys) {
    const uint64_t bits = (~uint64_t{0} >> (64 - lanes)) << first;
    for (int64_t key = keys.begin; key < keys.end; ++key) listed[key - begin] |= bits;
  });
  for (int64_t key = begin; key < end; ++key) visible[key - begin] &= listed[key - begin];
}

// pack_bias for a bias per list entry. Pairs without an entry get 0; they are hidden.
inline HWY_NOINLINE void pack_edges(const ScoreView& view, const ScoreTerm& term, const QueryBlock& block, int64_t begin, int64_t end,
                                    float* to) {
  std::fill(to, to + (end - begin) * kBlock, 0.0F);
  for_each_entry(view, block, begin, std::min(end, view.key_length), [&](int first, int lanes, int64_t entry, Range keys) {
    for (int64_t key = keys.begin; key < keys.end; ++key) std::fill_n(to + (key - begin) * kBlock + first, lanes, term.bias[entry]);
  });
}

// --- outputs --------------------------------------------------------------------------------------------------------

inline bool is_finite(const float* data, int64_t count) {
  const F32 d;
  Floats sum = hn::Zero(d);  // of x − x, which is 0 if x is finite and NaN otherwise
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sum = sum + (hn::LoadU(d, data + i) - hn::LoadU(d, data + i));
  bool finite = hn::AllTrue(d, hn::Eq(sum, hn::Zero(d)));
  for (; i < count; ++i) finite = finite && data[i] - data[i] == 0;
  return finite;
}

// Destinations of output rows: lane i's row begins at rows[i], and its channels are `channel` apart.
struct OutputRows {
  float* rows[kBlock];
  int64_t channel = 1;
};

/// Writes ot[channel][lane]·factor[lane] to the block's rows. Lanes past the last query write to `spare` (d_v floats).
/// Returns whether all numbers written are finite.
inline HWY_NOINLINE bool store_outputs(const float* ot, const float* factor, const QueryBlock& block, int64_t d_v, OutputRows& out,
                                       float* spare) {
  const F32 d;
  for (int i = block.count; i < block.vectors * kLanes; ++i) out.rows[i] = spare;
  bool finite = true;
  for (int v = 0; v < block.vectors; ++v) {
    const Floats scale = hn::Load(d, factor + v * kLanes);
    float* const* rows = out.rows + v * kLanes;
    Floats none = scale - scale;  // stays 0 while all numbers are finite, and becomes NaN otherwise
    const auto take = [&](int64_t of) CLEARHEAD_INLINE_LAMBDA {
      const Floats x = hn::Load(d, ot + of * kBlock + v * kLanes) * scale;
      none = none + (x - x);
      return x;
    };
    int64_t channel = 0;
    for (; out.channel == 1 && channel + kLanes <= d_v; channel += kLanes) {
      Floats t[kLanes];
      unroll<kLanes>([&](auto c) CLEARHEAD_INLINE_LAMBDA { t[c] = take(channel + c); });
      transpose(t);
      unroll<kLanes>([&](auto i) CLEARHEAD_INLINE_LAMBDA { hn::StoreU(t[i], d, rows[i] + channel); });
    }
    for (; out.channel == 1 && channel + 4 <= d_v; channel += 4) {
      Floats t[4];
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { t[r] = take(channel + r); });
      transpose_4x4_blocks(t[0], t[1], t[2], t[3]);
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { store_quarters(t[r], rows, r, channel); });
    }
    for (; channel < d_v; ++channel) {
      for (int i = 0; i < kLanes; ++i) {
        const float x = ot[channel * kBlock + v * kLanes + i] * factor[v * kLanes + i];
        finite = finite && x - x == 0;
        if (v * kLanes + i < block.count) rows[i][channel * out.channel] = x;
      }
    }
    finite = finite && hn::AllTrue(d, hn::Eq(none, hn::Zero(d)));
  }
  return finite;
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
