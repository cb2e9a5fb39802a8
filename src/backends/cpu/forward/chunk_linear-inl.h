// The forward pass of linear attention by running sums. Included once per target.
//
//   out_i = (q_i·S + Σ_{own chunk} s_ij v_j) / ℓ_i        ℓ_i = q_i·z + Σ_{own chunk} s_ij        (running_sums-inl.h)
//
// The (query, key) pairs of a row's own chunk are computed by EachBlock (one_pass-inl.h). Time: O(length·d_k·d_v).
#if defined(CLEARHEAD_CPU_FORWARD_CHUNK_LINEAR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_CHUNK_LINEAR_INL_H_
#undef CLEARHEAD_CPU_FORWARD_CHUNK_LINEAR_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_CHUNK_LINEAR_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "backends/cpu/forward/one_pass-inl.h"
#include "backends/cpu/forward/running_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// The state is S [d_k][d_v], then z [d_k]. A piece (RunningSums) is a chunk of keys; a map is a key head of a sequence.
class KeySums {
 public:
  KeySums(const ForwardPlan& plan, const PrefixLayout& layout)
      : plan_(plan), layout_(layout), d_k_(plan.problem.view(0, 0).d_k), d_v_(plan.d_v), group_(plan.problem.group()) {
    const int64_t lanes = round_up(d_k_, kRows) * kBlock, rows = kBlock * round_up(d_v_, 16);
    memory_ = aligned_floats(lanes + rows + outer_floats(d_k_, d_v_) + kBlock * (d_k_ + d_v_));
    lanes_ = memory_.get(), rows_ = lanes_ + lanes, sum_ = rows_ + rows, room_ = sum_ + outer_floats(d_k_, d_v_);
    std::fill(lanes_, rows_, 0.0F);
  }
  static int64_t floats(int64_t d_k, int64_t d_v) { return outer_floats(d_k, d_v) + d_k; }

  void add(int64_t map, int64_t chunk, float* state) {
    const int64_t key_heads = plan_.problem.heads() / group_;
    const ScoreView view = plan_.problem.view(map / key_heads, map % key_heads * group_);
    const ValueView values = plan_.value_view(map / key_heads, view);
    const ChunkRows chunk_rows(view, values, layout_.keys_of(chunk), room_);
    to_lanes(chunk_rows.keys, 1, d_k_, kVectors, 1.0F, lanes_);
    ChunkRows::to_rows(chunk_rows.values, chunk_rows.count, d_v_, rows_);
    add_outer(lanes_, d_k_, rows_, d_v_, chunk_rows.count, sum_, state);
    add_rows(chunk_rows.keys, chunk_rows.count, d_k_, state + outer_floats(d_k_, d_v_));
  }

 private:
  const ForwardPlan& plan_;
  const PrefixLayout& layout_;
  int64_t d_k_, d_v_, group_;
  hwy::AlignedFreeUniquePtr<float[]> memory_;
  float *lanes_ = nullptr, *rows_ = nullptr, *sum_ = nullptr, *room_ = nullptr;
};

inline void linear_block(const ForwardPlan& plan, int64_t batch, int64_t head, const PrefixLayout& layout, const PrefixBlock& at,
                         const float* state) {
  using Block = EachBlock<WeightKind::kLinear>;
  BlockJob<Block> job(plan, batch, head, at.begin, at.count);
  const int64_t d_k = job.view.d_k, end = std::min<int64_t>(job.queries.last_key(), layout.keys);
  const int vectors = job.queries.vectors;
  for (const bool careful : {false, true}) {
    Block& block = job.softmax;
    block.reset();
    job.scratch.careful = block.careful = careful;
    if (at.chunk > 0) {
      std::fill(block.sees, block.sees + kBlock, 1.0F);
      add_run_values_of(vectors, job.queries.qt, state, round_up(plan.d_v, 16), d_k, plan.d_v, block.o);
      add_run_values_of(vectors, job.queries.qt, state + outer_floats(d_k, plan.d_v), 1, d_k, 1, block.l);
    }
    for (int64_t key = at.chunk * kBlock; at.chunk < layout.chunks && key < end;) {
      const int64_t tile = key / kKeyTile * kKeyTile;
      const TileSight sight = prepare_tile({job.view, job.queries, job.scratch}, tile, {key, tile + kKeyTile});
      key = tile + kKeyTile;
      if (sight.empty()) continue;
      block.begin_tile(tile);
      for_each_group({job.view, job.queries, job.scratch}, sight, block);
      add_tile_values(block, job.values, layout.keys);
    }
    if (finish_each(plan, job)) return;
  }
}

inline void forward_chunk_linear(const ForwardPlan& plan) {
  const ScoreView first = plan.problem.view(0, 0);
  const PrefixLayout layout(first, plan.rows);
  const int64_t heads = plan.problem.heads(), group = plan.problem.group();
  RunningSums<KeySums> sums(plan.problem.batch() * heads / group, layout.chunks, KeySums::floats(first.d_k, plan.d_v),
                            [&] { return KeySums(plan, layout); });
  const int64_t blocks = static_cast<int64_t>(layout.blocks.size()), spans = (blocks + kSpan - 1) / kSpan;
  for_items(plan.problem.batch() * heads * spans, [&](int64_t item, int) {
    const int64_t index = item / spans, begin = item % spans * kSpan;
    RunningSums<KeySums>::Cursor cursor(sums, index / group, KeySums(plan, layout));
    for (int64_t b = begin; b < std::min(blocks, begin + kSpan); ++b) {
      const PrefixBlock& at = layout.blocks[static_cast<size_t>(b)];
      linear_block(plan, index / heads, index % heads, layout, at, cursor.at(at.chunk));
    }
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
