// Gradients of linear attention by running sums. Time: O(length·d_k·d_v), as in the forward pass. Compiled once per
// instruction set.
//
//   g_i = dO_i/ℓ_i,  D_i = g_i·O_i        dS_ij = g_i·v_j − D_i
//   dQ_i = scale·Σ_j dS_ij k_j,  dK_j = scale·Σ_i dS_ij q_i,  dV_j = Σ_i s_ij g_i
//
//   over keys before the row's chunk:    dQ_i = scale·(g_i·T − D_i z)        T = Σ_j v_j·k_jᵀ,  z = Σ_j k_j
//   over rows of later chunks:           dK_j = v_j·R + r,  dV_j = k_j·U
//                                        R = Σ_i g_i·(scale·q_i)ᵀ,  r = −Σ_i D_i scale·q_i,  U = Rᵀ
//
// The (query, key) pairs of a row's own chunk are computed by ChunkJob. running_sums-inl.h defines chunks and the rows
// that belong to them. One work item covers a span of chunks of one key head: dQ of its rows, and dK and dV of its keys,
// one head of the group after another. Rows that see all keys have no pairs in a chunk of their own; they form separate work
// items. Source: Katharopoulos et al. 2020, §3.3.1 and eq. 13–15.
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/backward/chunk_linear.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include <algorithm>
#include <vector>

#include "backends/cpu/backward/chunk-inl.h"
#include "backends/cpu/forward/running_sums-inl.h"
#include "backends/cpu/score/row_shift.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
namespace {

struct LinearPlan {
  const BackwardCall& call;
  ScoreProblem problem;
  Tensor values;  // row-major with adjacent channels
  int64_t rows, d_k, d_v;
  float scale;
  float *d_q, *d_keys, *d_values;
  PrefixLayout layout;

  explicit LinearPlan(const BackwardCall& backward)
      : call(backward),
        problem(backward.record.spec, backward.record.q, backward.record.keys, 0, backward.record.query_length, Products::kF32),
        values(backward.v.size(3) <= 1 || backward.v.stride(3) == 1 ? backward.v : backward.v.contiguous()),
        rows(backward.record.query_length),
        d_k(backward.record.q.size(3)),
        d_v(backward.v.size(3)),
        d_q(backward.d_q.mutable_data<float>()),
        d_keys(backward.d_k.mutable_data<float>()),
        d_values(backward.d_v.mutable_data<float>()),
        layout(problem.view(0, 0), rows) {
    scale = problem.view(0, 0).query_factor / kLog2E;
  }
  int64_t heads() const { return problem.heads(); }
  int64_t group() const { return problem.group(); }
  int64_t key_heads() const { return heads() / group(); }
  int64_t blocks() const { return static_cast<int64_t>(layout.blocks.size()); }
  // The view of one query head: number `in_group` of those that share key head `map`, which counts the key heads of all sequences.
  ScoreView view(int64_t map, int64_t in_group = 0) const {
    return problem.view(map / key_heads(), map % key_heads() * group() + in_group);
  }
  KeySide keys(int64_t map) const {
    KeySide out;
    out.values = values.data<float>() + map / key_heads() * values.stride(0) + map % key_heads() * values.stride(1);
    out.value_stride = values.stride(2);
    out.d_k = d_k;
    out.d_v = out.value_words = d_v;
    out.d_keys = d_keys + map * layout.keys * d_k;
    out.d_values = d_values + map * layout.keys * d_v;
    return out;
  }
  ValueView value_view(int64_t map) const {
    ValueView out;
    out.values = keys(map).values;
    out.stride = values.stride(2);
    out.d_v = d_v;
    return out;
  }
};

// Up to 48 rows of q and dO in the layouts of StripBlock, with their own memory.
class LinearRows {
 public:
  explicit LinearRows(const LinearPlan& plan) : plan_(plan), wide_k_(round_up(plan.d_k, 16)), wide_v_(round_up(plan.d_v, 16)) {
    const int64_t q_lanes = round_up(plan.d_k, kRows) * kBlock, v_lanes = round_up(plan.d_v, kRows) * kBlock;
    memory_ = aligned_floats(2 * q_lanes + v_lanes + (wide_k_ + wide_v_) * kBlock);
    float* at = memory_.get();
    std::fill(at, at + 2 * q_lanes + v_lanes, 0.0F);
    block.queries.qt = at;
    block.d_q_t = at + q_lanes;
    block.d_out_t = block.d_q_t + q_lanes;
    block.q_rows = block.d_out_t + v_lanes;
    block.d_out_rows = block.q_rows + wide_k_ * kBlock;
  }
  StripBlock block;

  void pack(int64_t map, int64_t in_group, const PrefixBlock& at) {
    const ScoreView view = plan_.view(map, in_group);
    int64_t rows[kBlock];
    for (int i = 0; i < at.count; ++i) rows[i] = at.begin + i;
    pack_queries(view, rows, at.count, block.queries);
    const float* from[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      from[i] = block.d_out_rows + std::min(i, at.count - 1) * wide_v_;
      block.m[i] = kNoRow;
      block.minus_mean[i] = 0;
      block.mask_sum[i] = block.centre_sum[i] = 0;
      if (i < at.count) pack_row(view, at.begin + i, i);
    }
    to_lanes(from, 1, plan_.d_v, block.queries.vectors, 1.0F, block.d_out_t);
    std::fill(block.d_q_t, block.d_q_t + plan_.d_k * kBlock, 0.0F);
  }

 private:
  // Packs q, dO/ℓ and −D of one row.
  void pack_row(const ScoreView& view, int64_t row, int lane) {
    const Tensor &d_out = plan_.call.d_out, &out = plan_.call.out;
    float *upstream = block.d_out_rows + lane * wide_v_, *q = block.q_rows + lane * wide_k_;
    const float* query = view.queries + row * view.query_stride;
    for (int64_t c = 0; c < plan_.d_k; ++c) q[c] = query[c * view.query_channel] * plan_.scale;
    std::fill(q + plan_.d_k, q + wide_k_, 0.0F);
    std::fill(upstream, upstream + wide_v_, 0.0F);
    const RowShift shift = row_shift(plan_.call.record, view.batch, view.head, row);
    if (shift.saw_nothing || shift.inverse == 0) return;
    block.m[lane] = 0;
    const float factor = shift.inverse * kLog2E;  // 1/ℓ
    const auto row_of = [&](const Tensor& t) {
      return t.data<float>() + view.batch * t.stride(0) + view.head * t.stride(1) + row * t.stride(2);
    };
    const float *d = row_of(d_out), *o = row_of(out);
    double mean = 0;
    for (int64_t c = 0; c < plan_.d_v; ++c) {
      upstream[c] = d[c * d_out.stride(3)] * factor;
      mean += static_cast<double>(upstream[c]) * static_cast<double>(o[c * out.stride(3)]);
    }
    block.minus_mean[lane] = -static_cast<float>(mean);
  }

  const LinearPlan& plan_;
  int64_t wide_k_, wide_v_;
  hwy::AlignedFreeUniquePtr<float[]> memory_;
};

// Sums over chunks of keys, which are the pieces (RunningSums): T [d_v][d_k], then z [d_k].
class ValueKeySums {
 public:
  explicit ValueKeySums(const LinearPlan& plan) : plan_(plan) {
    const int64_t lanes = round_up(plan.d_v, kRows) * kBlock, rows = kBlock * round_up(plan.d_k, 16);
    memory_ = aligned_floats(lanes + rows + outer_floats(plan.d_v, plan.d_k));
    lanes_ = memory_.get(), rows_ = lanes_ + lanes, sum_ = rows_ + rows;
    std::fill(lanes_, rows_, 0.0F);
  }
  static int64_t floats(int64_t d_k, int64_t d_v) { return outer_floats(d_v, d_k) + d_k; }
  void add(int64_t map, int64_t chunk, float* state) {
    const ScoreView view = plan_.view(map);
    const ValueView values = plan_.value_view(map);
    const ChunkRows rows(view, values, plan_.layout.keys_of(chunk), nullptr);
    to_lanes(rows.values, 1, plan_.d_v, kVectors, 1.0F, lanes_);
    ChunkRows::to_rows(rows.keys, rows.count, plan_.d_k, rows_);
    add_outer(lanes_, plan_.d_v, rows_, plan_.d_k, rows.count, sum_, state);
    add_rows(rows.keys, rows.count, plan_.d_k, state + outer_floats(plan_.d_v, plan_.d_k));
  }

 private:
  const LinearPlan& plan_;
  hwy::AlignedFreeUniquePtr<float[]> memory_;
  float *lanes_ = nullptr, *rows_ = nullptr, *sum_ = nullptr;
};

// Sums over the heads of a group and over blocks of rows, which are the pieces, last block first: R [d_v][d_k],
// U·log₂e [d_k][d_v], r [d_k].
class QuerySums {
 public:
  explicit QuerySums(const LinearPlan& plan) : plan_(plan), rows_(plan) {
    sum_ = aligned_floats(std::max(outer_floats(plan.d_v, plan.d_k), outer_floats(plan.d_k, plan.d_v)));
  }
  static int64_t floats(int64_t d_k, int64_t d_v) { return outer_floats(d_v, d_k) + outer_floats(d_k, d_v) + d_k; }
  void add(int64_t map, int64_t piece, float* state) {
    const PrefixBlock& at = plan_.layout.blocks[static_cast<size_t>(plan_.blocks() - 1 - piece)];
    const int64_t d_k = plan_.d_k, d_v = plan_.d_v;
    float *u = state + outer_floats(d_v, d_k), *r = u + outer_floats(d_k, d_v);
    for (int64_t in_group = 0; in_group < plan_.group(); ++in_group) {
      rows_.pack(map, in_group, at);
      const StripBlock& block = rows_.block;
      add_outer(block.d_out_t, d_v, block.q_rows, d_k, at.count, sum_.get(), state);
      add_outer(block.queries.qt, d_k, block.d_out_rows, d_v, at.count, sum_.get(), u);
      for (int64_t c = 0; c < d_k; ++c) {
        float sum = 0;
        for (int i = 0; i < at.count; ++i) sum += block.minus_mean[i] * block.q_rows[i * round_up(d_k, 16) + c];
        r[c] += sum;
      }
    }
  }

 private:
  const LinearPlan& plan_;
  LinearRows rows_;
  hwy::AlignedFreeUniquePtr<float[]> sum_;
};

using KeyCursor = RunningSums<ValueKeySums>::Cursor;
using QueryCursor = RunningSums<QuerySums>::Cursor;

class LinearRun {
 public:
  LinearRun(const LinearPlan& plan, bool careful)
      : plan_(plan),
        careful_(careful),
        maps_(plan.problem.batch() * plan.key_heads()),
        key_sums_(maps_, plan.layout.chunks, ValueKeySums::floats(plan.d_k, plan.d_v), [&] { return ValueKeySums(plan); }),
        query_sums_(maps_, plan.blocks(), QuerySums::floats(plan.d_k, plan.d_v), [&] { return QuerySums(plan); }) {}

  void run() {
    const int64_t chunks = plan_.layout.chunks, spans = (chunks + kSpan - 1) / kSpan;
    for_items(maps_ * spans, [&](int64_t item, int) {
      const Range of{item % spans * kSpan, std::min(chunks, (item % spans + 1) * kSpan)};
      from_later_rows(item / spans, of);
      of_rows(item / spans, of);
    });
    const int64_t first = plan_.layout.first_block[static_cast<size_t>(chunks)], left = plan_.blocks() - first;
    const int64_t row_spans = (left + kSpan - 1) / kSpan;
    for_items(maps_ * row_spans, [&](int64_t item, int) {
      KeyCursor cursor(key_sums_, item / row_spans, ValueKeySums(plan_));
      LinearRows rows(plan_);
      const int64_t begin = first + item % row_spans * kSpan;
      for (int64_t b = begin; b < std::min(plan_.blocks(), begin + kSpan); ++b) {
        for (int64_t in_group = 0; in_group < plan_.group(); ++in_group) {
          start_block(item / row_spans, in_group, plan_.layout.blocks[static_cast<size_t>(b)], cursor, rows);
          store(item / row_spans, in_group, rows);
        }
      }
    });
  }

 private:
  // Writes the part of dK and dV of the chunks' keys that comes from rows of later chunks.
  void from_later_rows(int64_t map, Range chunks) {
    const int64_t d_k = plan_.d_k, d_v = plan_.d_v;
    const ScoreView view = plan_.view(map);
    const ValueView values = plan_.value_view(map);
    const KeySide keys = plan_.keys(map);
    QueryCursor cursor(query_sums_, map, QuerySums(plan_));
    const auto memory = aligned_floats((2 * d_k + 2 * d_v) * kBlock + round_up(std::max(d_k, d_v), 16));
    float *keys_t = memory.get(), *values_t = keys_t + d_k * kBlock, *d_keys_t = values_t + d_v * kBlock,
          *d_values_t = d_keys_t + d_k * kBlock;
    alignas(64) float ones[kBlock], ln2[kBlock];
    std::fill(ones, ones + kBlock, 1.0F);
    std::fill(ln2, ln2 + kBlock, kLn2);
    for (int64_t chunk = chunks.end - 1; chunk >= chunks.begin; --chunk) {
      const float* state = cursor.at(plan_.blocks() - plan_.layout.first_block[static_cast<size_t>(chunk + 1)]);
      const float *u = state + outer_floats(d_v, d_k), *r = u + outer_floats(d_k, d_v);
      const Range range = plan_.layout.keys_of(chunk);
      const ChunkRows rows(view, values, range, nullptr);
      to_lanes(rows.keys, 1, d_k, kVectors, 1.0F, keys_t);
      to_lanes(rows.values, 1, d_v, kVectors, 1.0F, values_t);
      std::fill(d_keys_t, d_values_t + d_v * kBlock, 0.0F);
      add_run_values_of(kVectors, values_t, state, round_up(d_k, 16), d_v, d_k, d_keys_t);
      add_run_values_of(kVectors, ones, r, 0, 1, d_k, d_keys_t);
      add_run_values_of(kVectors, keys_t, u, round_up(d_v, 16), d_k, d_v, d_values_t);
      QueryBlock lanes;
      lanes.count = rows.count;
      lanes.vectors = (rows.count + kLanes - 1) / kLanes;
      float* spare = d_values_t + d_v * kBlock;
      OutputRows to_keys, to_values;
      for (int i = 0; i < rows.count; ++i) to_keys.rows[i] = keys.d_keys + (range.begin + i) * d_k;
      for (int i = 0; i < rows.count; ++i) to_values.rows[i] = keys.d_values + (range.begin + i) * d_v;
      store_outputs(d_keys_t, ones, lanes, d_k, to_keys, spare);
      store_outputs(d_values_t, ln2, lanes, d_v, to_values, spare);
    }
  }

  // Writes dQ of the chunks' rows, and adds these rows' contributions to dK and dV of their own chunk's keys.
  void of_rows(int64_t map, Range chunks) {
    KeyCursor cursor(key_sums_, map, ValueKeySums(plan_));
    LinearRows rows(plan_);
    BackwardScratch scratch;
    const std::vector<TermGradient> no_terms;
    const KeySide keys = plan_.keys(map);
    const auto memory = aligned_floats(BackwardScratch::floats(plan_.view(map), plan_.d_k, plan_.d_v, 0));
    scratch.lay_out(plan_.view(map), plan_.d_k, plan_.d_v, memory.get());
    const auto begin = static_cast<size_t>(chunks.begin), end = static_cast<size_t>(chunks.end);
    for (int64_t b = plan_.layout.first_block[begin]; b < plan_.layout.first_block[end]; ++b) {
      const PrefixBlock& at = plan_.layout.blocks[static_cast<size_t>(b)];
      for (int64_t in_group = 0; in_group < plan_.group(); ++in_group) {
        start_block(map, in_group, at, cursor, rows);
        const ScoreView view = plan_.view(map, in_group);
        ChunkJob<Way::kGeneral> job(view, keys, scratch, no_terms, careful_);
        job.work(&rows.block, 1, at.chunk * kBlock);
        store(map, in_group, rows);
      }
    }
  }

  // Packs the block's rows and computes dQ from the keys before their chunk.
  void start_block(int64_t map, int64_t in_group, const PrefixBlock& at, KeyCursor& cursor, LinearRows& rows) {
    rows.pack(map, in_group, at);
    if (at.chunk == 0) return;
    const float* state = cursor.at(at.chunk);
    StripBlock& block = rows.block;
    add_run_values_of(block.queries.vectors, block.d_out_t, state, round_up(plan_.d_k, 16), plan_.d_v, plan_.d_k, block.d_q_t);
    add_run_values_of(block.queries.vectors, block.minus_mean, state + outer_floats(plan_.d_v, plan_.d_k), 0, 1, plan_.d_k, block.d_q_t);
  }

  void store(int64_t map, int64_t in_group, const LinearRows& rows) {
    alignas(64) float factor[kBlock];
    std::fill(factor, factor + kBlock, plan_.scale);
    const QueryBlock& queries = rows.block.queries;
    std::vector<float> spare(static_cast<size_t>(plan_.d_k));
    OutputRows to;
    for (int i = 0; i < queries.count; ++i)
      to.rows[i] = plan_.d_q + ((map * plan_.group() + in_group) * plan_.rows + queries.query[i]) * plan_.d_k;
    store_outputs(rows.block.d_q_t, factor, queries, plan_.d_k, to, spare.data());
  }

  const LinearPlan& plan_;
  bool careful_;
  int64_t maps_;
  RunningSums<ValueKeySums> key_sums_;
  RunningSums<QuerySums> query_sums_;
};

}  // namespace

void backward_chunk_linear(const BackwardCall& call) {
  const LinearPlan plan(call);
  for (const bool careful : {false, true}) {
    LinearRun(plan, careful).run();
    if (is_finite(plan.d_q, call.d_q.numel()) && is_finite(plan.d_keys, call.d_k.numel()) && is_finite(plan.d_values, call.d_v.numel()))
      return;
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
