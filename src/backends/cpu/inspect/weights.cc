// Weights and scores of any rows of a head over a range of keys: the forward pass's score kernel, with an epilogue that
// stores its results.
//
//   kScore2: s      kWeight: P (weight-inl.h)      hidden: −∞, 0 or NaN
//
// Computes up to kBlock rows at a time. The scores of kChunk keys stay in L1 as [key][lane] and are transposed to rows
// from there. Every weight is computed independently, so work can be divided anywhere: by rows, and by keys if there are
// few rows. A shift m that is not an integer (in a record of another backend) is split into ⌊m⌋ and a factor on 1/ℓ.
// Compiled once per instruction set.
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/inspect/weights.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/items.h"
#include "base/parallel.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include <algorithm>
#include <limits>

#include "backends/cpu/score/after-inl.h"
#include "backends/cpu/score/row_shift.h"
#include "backends/cpu/score/score_kernel-inl.h"
#include "backends/cpu/score/weight-inl.h"
#include "backends/cpu/simd/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t kChunk = 64;  // keys: 12 KB of scores, besides 12 KB of queries at d = 64

// Replaces the scores of one chunk by the requested quantity. An epilogue of for_each_group.
struct WeightsBlock {
  alignas(64) float m[kBlock], threshold[kBlock], inverse[kBlock];
  float* chunk = nullptr;  // [kChunk][kBlock]
  int64_t first_key = 0;   // the chunk's first key
  bool scores = false;     // whether kScore2 was requested
  WeightKind kind = WeightKind::kSoftmax;
  const AfterView* after = nullptr;  // set if weights are multiplied by dropout and Gaussian factors
  const QueryBlock* queries = nullptr;
  float hidden = 0;  // the result for a hidden pair

  template <int V>
  HWY_INLINE void operator()(Scores<V>& s, int64_t key, int first_vector) {
    const F32 d;
    float* to = chunk + (key - first_key) * kBlock + first_vector * kLanes;
    const Floats visible = hn::Set(d, kVisible), other = hn::Set(d, hidden);
    with_kind_of_look(kind, [&](auto k) CLEARHEAD_INLINE_LAMBDA {
      unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA {
        const int at = (first_vector + v) * kLanes;
        const Floats shift = hn::Load(d, m + at), t = hn::Load(d, threshold + at), factor = hn::Load(d, inverse + at);
        unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
          const Floats c = s.c[r * V + v];
          const Floats value = scores ? c : weight_beside<k()>(c, shift, t, factor, key + r);
          hn::Store(hn::IfThenElse(hn::Lt(c, visible), other, value), d, to + r * kBlock + v * kLanes);
        });
      });
    });
    if (HWY_UNLIKELY(after != nullptr)) apply_after(*after, *queries, key, first_vector, V, to);
  }
};

// Restricts the block's band to the requested keys [begin, end).
void narrow(QueryBlock& block, int64_t begin, int64_t end) {
  const int32_t low = static_cast<int32_t>(begin), high = static_cast<int32_t>(end);
  for (int i = 0; i < block.vectors * kLanes; ++i) {
    block.low[i] = std::clamp(block.low[i], low, high);
    block.high[i] = std::clamp(block.high[i], low, high);
  }
  for (int v = 0; v < block.vectors; ++v) {
    block.any_low[v] = std::clamp(block.any_low[v], low, high);
    block.any_high[v] = std::clamp(block.any_high[v], low, high);
    block.all_low[v] = std::max(block.all_low[v], low);
    block.all_high[v] = std::min(block.all_high[v], high);
  }
}

// Transposes keys [begin, end) of the chunk, counted from its first key, into rows[lane][key].
void store_rows(const float* chunk, int64_t begin, int64_t end, const QueryBlock& block, float* const* rows) {
  const F32 d;
  if (block.count == 1) {
    for (int64_t key = begin; key < end; ++key) rows[0][key] = chunk[key * kBlock];
    return;
  }
  for (int v = 0; v < block.vectors; ++v) {
    const float* from = chunk + v * kLanes;
    int64_t key = begin;
    for (; key + 4 <= end; key += 4) {
      Floats t[4];
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { t[r] = hn::Load(d, from + (key + r) * kBlock); });
      transpose_4x4_blocks(t[0], t[1], t[2], t[3]);
      unroll<4>([&](auto r) CLEARHEAD_INLINE_LAMBDA { store_quarters(t[r], rows + v * kLanes, r, key); });
    }
    for (; key < end; ++key) {
      for (int i = v * kLanes; i < std::min(block.count, (v + 1) * kLanes); ++i) rows[i][key] = chunk[key * kBlock + i];
    }
  }
}

// Computes the keys of one key tile that the block may see, chunk by chunk.
void weigh_tile(const TileContext& in, const Range keys, int64_t tile, float* const* out, float* spare, WeightsBlock& block) {
  const TileSight sight = prepare_tile(in, tile);
  for (int64_t first = std::max(tile, keys.begin / kChunk * kChunk); first < std::min(tile + kKeyTile, keys.end); first += kChunk) {
    std::fill(block.chunk, block.chunk + kChunk * kBlock, block.hidden);
    TileSight part = sight;
    part.begin = std::max(sight.begin, first);
    part.end = std::min(sight.end, first + kChunk);
    block.first_key = first;
    if (!part.empty()) for_each_group(in, part, block);
    float* rows[kBlock];
    for (int i = 0; i < kBlock; ++i) rows[i] = i < in.block.count ? out[i] + (first - keys.begin) : spare;
    store_rows(block.chunk, std::max(keys.begin, first) - first, std::min(keys.end, first + kChunk) - first, in.block, rows);
  }
}

// Computes `count` ≤ kBlock of the call's rows, from index `begin` on, for `keys`.
void weigh_block(const WeightsCall& call, const ScoreView& view, int64_t begin, int count, Range keys) {
  const int64_t qt_floats = view.d_k * kBlock, chunk_floats = kChunk * kBlock;
  float* memory = ThreadScratch::floats(qt_floats + chunk_floats + kChunk + tile_scratch_floats(view));
  QueryBlock queries;
  WeightsBlock block;
  queries.qt = memory;
  block.chunk = memory + qt_floats;
  float* spare = block.chunk + chunk_floats;
  const TileScratch scratch = make_tile_scratch(view, spare + kChunk);
  pack_queries(view, call.rows + begin, count, queries);
  narrow(queries, keys.begin, keys.end);
  float* out[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    const RowShift shift = row_shift(call.record, call.batch, call.head, call.rows[begin + std::min(i, count - 1)], call.precision);
    block.m[i] = shift.m;
    block.threshold[i] = shift.threshold;
    block.inverse[i] = call.after ? shift.inverse * view.after.factor : shift.inverse;
    if (i < count) out[i] = call.out + (begin + i) * call.out_stride + (keys.begin - call.keys.begin);
  }
  using Quantity = WeightsCall::Quantity;
  block.scores = call.quantity == Quantity::kScore2;
  block.kind = shows_rounded(call.record, call.precision) ? WeightKind::kRounded : view.kind;
  if (call.after && view.after.is_by_pair() && !block.scores) block.after = &view.after, block.queries = &queries;
  block.hidden = block.scores                              ? -std::numeric_limits<float>::infinity()
                 : call.quantity == Quantity::kWeightOrNaN ? std::numeric_limits<float>::quiet_NaN()
                                                           : 0;
  for (int64_t tile = keys.begin / kKeyTile * kKeyTile; tile < keys.end; tile += kKeyTile) {
    weigh_tile({view, queries, scratch}, keys, tile, out, spare, block);
  }
}

}  // namespace

void weights(const WeightsCall& call, Products products) {
  if (call.row_count <= 0 || call.keys.size() <= 0) return;
  const AttentionRecord& record = call.record;
  const ScoreProblem problem(record.spec, record.q, record.keys, record.first_query, record.query_length, products);
  const ScoreView view = problem.view(call.batch, call.head);
  const int64_t blocks = (call.row_count + kBlock - 1) / kBlock;
  const int64_t first_tile = call.keys.begin / kKeyTile, tiles = (call.keys.end + kKeyTile - 1) / kKeyTile - first_tile;
  const int64_t wanted = in_parallel() ? 1 : 8 * threads();
  const int64_t parts = std::clamp<int64_t>(wanted / blocks, 1, tiles);
  for_items(blocks * parts, [&](int64_t item, int) {
    const int64_t begin = item / parts * kBlock, part = item % parts;
    const Range keys{std::max(call.keys.begin, (first_tile + tiles * part / parts) * kKeyTile),
                     std::min(call.keys.end, (first_tile + tiles * (part + 1) / parts) * kKeyTile)};
    weigh_block(call, view, begin, static_cast<int>(std::min<int64_t>(kBlock, call.row_count - begin)), keys);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
