// Computes all statistics of a sweep in one pass over the weights, with the forward pass's score kernel over blocks of
// rows that are interleaved by key tile. sweep_block-inl.h describes the statistics of a weight, sweep_plan.h the order in
// which sums are added. Compiled once per instruction set.
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/inspect/sweep.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/items.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "backends/cpu/inspect/sweep_block-inl.h"
#include "backends/cpu/inspect/sweep_gather-inl.h"
#include "backends/cpu/score/row_shift.h"
#include "backends/cpu/simd/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
namespace {

struct BlockOfRows {
  int64_t map, begin;  // index into call.rows
  int count;
};

// Returns true if m is so large that adding log_rest to it in f32 would lose log_rest. A block then omits log_rest from −log₂P, and
// write_entropy adds it.
bool is_large(const RowShift& shift) { return std::abs(shift.m) >= kWholeScores; }

// Sets the shifts, tags and cell rows of the block's lanes.
void set_lanes(const SweepPlan& plan, const BlockOfRows& at, const ScoreView& view, const QueryBlock& queries, SweepBlock& block) {
  const std::vector<int64_t>& rows = plan.call.rows;
  block.run_count = 0;
  for (int i = 0; i < kBlock; ++i) {
    const int64_t row = rows[static_cast<size_t>(at.begin + std::min(i, at.count - 1))];
    const RowShift shift = row_shift(plan.call.record, plan.batch_of(at.map), plan.head_of(at.map), row, plan.call.precision);
    block.m[i] = shift.m;
    block.threshold[i] = shift.threshold;
    block.inverse[i] = i < at.count ? shift.inverse * plan.row_factor(row) * (plan.call.after ? view.after.factor : 1) : 0;
    block.log_sum[i] = is_large(shift) ? shift.m : static_cast<float>(shift.log_sum_exp2);
    for (int64_t match = 0; match < plan.matches; ++match) {
      block.tags[match * kBlock + i] = plan.query_tags[static_cast<size_t>(match)][static_cast<size_t>(plan.call.record.first_query + row)];
    }
    if (!plan.pooled || i >= at.count) continue;
    const int64_t cells = (plan.call.grid.row_of(row) - block.sums->cells.first_row) * plan.call.grid.cells[1];
    if (block.run_count == 0 || block.runs[block.run_count - 1].cells != cells) block.runs[block.run_count++] = {i, i, cells};
    block.runs[block.run_count - 1].end = i + 1;
  }
  block.first_position = static_cast<int64_t>(queries.position[0]);
  block.last_position = static_cast<int64_t>(queries.position[at.count - 1]);
  block.consecutive = block.last_position - block.first_position == at.count - 1;
}

// Writes a row's entropy. A sink logit's share counts as one more outcome.
void write_entropy(const SweepPlan& plan, int64_t map, int64_t index, const ScoreView& view, double surprise2, bool leaves_rest = false) {
  const int64_t row = plan.call.rows[static_cast<size_t>(index)];
  const RowShift shift = row_shift(plan.call.record, plan.batch_of(map), plan.head_of(map), row, plan.call.precision);
  const bool has_sink = view.sink && !shift.saw_nothing;
  const double log_share = has_sink ? in_base_2(static_cast<double>(*view.sink)) - static_cast<double>(shift.m) - shift.log_rest : 0;
  const double share = has_sink ? std::exp2(log_share) : 0;
  if (leaves_rest && is_large(shift)) surprise2 += (1 - share) * shift.log_rest;
  const double entropy = (share > 0 ? -share * log_share * std::numbers::ln2 : 0) + surprise2 * std::numbers::ln2;
  plan.entropy_row(map)[index] = static_cast<float>(entropy < 0 && !plan.call.after ? 0 : entropy);
}

void write_rows(const SweepPlan& plan, const BlockOfRows& at, const ScoreView& view, const SweepBlock& block) {
  for (int i = 0; i < at.count; ++i) {
    if (plan.entropy) write_entropy(plan, at.map, at.begin + i, view, -block.entropy_total[i], !block.by_log);
    if (plan.distance) plan.distance_row(at.map)[at.begin + i] = static_cast<float>(block.distance_total[i]);
    for (int64_t match = 0; match < plan.matches; ++match) {
      plan.match_row(match, at.map)[at.begin + i] = static_cast<float>(block.matched_total[match * kBlock + i]);
    }
  }
  for (int64_t place = 0; place < plan.top; ++place) {
    alignas(64) float weights[kBlock];
    block.weigh_top(place, weights);
    for (int i = 0; i < at.count; ++i) {
      plan.top_keys_of(at.map, at.begin + i)[place] = block.top.keys[place * kBlock + i];
      plan.top_weights_of(at.map, at.begin + i)[place] = weights[i];
    }
  }
}

void write_cells(const float* max, const double* sum, const double* count, int64_t columns, float* max_out, float* mean_out) {
  constexpr float kNothing = std::numeric_limits<float>::quiet_NaN();
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const auto nothing = hn::Set(df, kNothing);
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) {
    const auto largest = hn::LoadU(df, max + c);
    const auto pairs = hn::LoadU(d, count + c);
    const auto mean = hn::DemoteTo(df, hn::LoadU(d, sum + c) / pairs);
    hn::StoreU(hn::IfThenElse(hn::Gt(largest, hn::Set(df, kNoWeight)), largest, nothing), df, max_out + c);
    hn::StoreU(hn::IfThenElse(hn::Gt(hn::DemoteTo(df, pairs), hn::Zero(df)), mean, nothing), df, mean_out + c);
  }
  for (; c < columns; ++c) {
    max_out[c] = max[c] > kNoWeight ? max[c] : kNothing;
    mean_out[c] = count[c] > 0 ? static_cast<float>(sum[c] / count[c]) : kNothing;
  }
}

// The computation of one block, on one thread and in its scratch memory. Interleaved blocks share the scratch for one key
// tile.
struct BlockSweep {
  const SweepPlan& plan;
  const BlockOfRows at;
  const ScoreView& view;
  QueryBlock queries;
  SweepBlock block;
  TileScratch scratch;
  bool biased = false;
  int64_t tile = 0, last = 0;  // the next key tile; the end of the keys

  static int64_t own_floats(const SweepPlan& plan, const ScoreView& view) { return (view.d_k + 4 * plan.matches + 2 * plan.top) * kBlock; }

  BlockSweep(const SweepPlan& sweep, const BlockOfRows& rows, const ScoreView& of, StripSums& sums, float* own, float* shared)
      : plan(sweep), at(rows), view(of), scratch(make_tile_scratch(of, shared)), biased(terms_may_hide(of)) {
    const int64_t match_floats = plan.matches * kBlock;
    queries.qt = own;
    block.plan = &plan;
    block.queries = &queries;
    block.sums = &sums;
    block.matched = own + view.d_k * kBlock;
    block.tags = reinterpret_cast<int32_t*>(block.matched + match_floats);
    block.matched_total = reinterpret_cast<double*>(block.matched + 2 * match_floats);
    block.top.count = plan.top;
    block.top.scores = block.matched + 4 * match_floats;
    block.top.keys = reinterpret_cast<int32_t*>(block.top.scores + plan.top * kBlock);
    pack_queries(view, plan.call.rows.data() + at.begin, at.count, queries);
    set_lanes(plan, at, view, queries, block);
    block.kind = shows_rounded(plan.call.record, plan.call.precision) ? WeightKind::kRounded : view.kind;
    block.by_log = block.kind != WeightKind::kSoftmax || (plan.call.after && view.after.any());
    if (plan.call.after && view.after.is_by_pair()) block.after = &view.after;
    block.begin_block();
    last = std::min(queries.last_key(), plan.looked_keys.end);
    tile = next_tile(view, queries, std::max(queries.first_key(), plan.looked_keys.begin) / kKeyTile * kKeyTile, last);
  }
  BlockSweep(const BlockSweep&) = delete;  // members point to one another
  BlockSweep& operator=(const BlockSweep&) = delete;

  void take_tile() {
    TileSight sight = prepare_tile({view, queries, scratch}, tile);
    sight.begin = std::max(sight.begin, plan.looked_keys.begin / kRows * kRows);
    sight.end = std::min(sight.end, plan.looked_keys.end);
    if (!sight.empty()) {
      block.hides = biased || sight.segments || sight.mask;
      for_each_group({view, queries, scratch}, sight, block);
      block.end_tile();
    }
    tile = next_tile(view, queries, tile + kKeyTile, last);
  }
  void finish() {
    if (plan.pooled) block.leave_cells();
    write_rows(plan, at, view, block);
  }
};

// Computes the rows of a strip, divided into blocks as in the forward pass.
void sweep_blocks(SweepPlan& plan, int64_t map, const ScoreView& view, Range rows, StripSums& sums, int thread) {
  const int64_t own = BlockSweep::own_floats(plan, view);
  float* memory = ThreadScratch::floats(kTogether * own + tile_scratch_floats(view));
  for (int64_t begin = rows.begin; begin < rows.end;) {
    plan.check_cancelled();
    JobsTogether<BlockSweep> jobs;
    const int64_t first = begin;
    while (jobs.count() < kTogether && begin < rows.end) {
      const int count = rows_of_block(rows.end - begin);
      jobs.emplace_back(plan, BlockOfRows{map, begin, count}, view, sums, memory + jobs.count() * own, memory + kTogether * own);
      begin += count;
    }
    interleave_key_tiles(jobs);
    for (BlockSweep& job : jobs) job.finish();
    plan.report(begin - first, thread);
  }
}

void sweep_strip(SweepPlan& plan, int64_t map, int64_t strip, int thread) {
  const ScoreView view = plan.problem.view(plan.batch_of(map), plan.head_of(map));
  StripSums sums = plan.new_sums(strip);
  const Range rows = plan.strip_rows(strip);
  if (plan.choice.driver == ReductionDriver::kGather) {
    ListedSweep listed(plan, map, view, sums);
    for (int64_t index = rows.begin; index < rows.end; ++index) {
      if (index % kBlock == 0) plan.check_cancelled();
      const double surprise = listed.take_row(index);
      if (plan.entropy) write_entropy(plan, map, index, view, surprise);
    }
    plan.report(static_cast<int64_t>(rows.size()), thread);
    return plan.finish_strip(map, strip, std::move(sums));
  }
  sweep_blocks(plan, map, view, rows, sums, thread);
  plan.finish_strip(map, strip, std::move(sums));
}

}  // namespace

ReductionResult sweep(const SweepCall& call, const ReductionChoice& choice) {
  SweepPlan plan(call, choice, kBlock, write_cells);
  read_offsets(plan.problem);
  // Head by head, last strips first, because with a causal band they are the longest.
  for_items(plan.maps * plan.strips,
            [&](int64_t item, int thread) { sweep_strip(plan, item / plan.strips, plan.strips - 1 - item % plan.strips, thread); });
  return plan.take_result();
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
