// Gradients of attention without stored weights: strips of queries over chunks of keys. Compiled once per instruction
// set.
//
// A strip is a number of blocks of rows of one head: as many as fit in L2 with their gradients. One thread processes a
// strip over all chunks of keys that its band shows, in ascending order, so dQ never leaves the thread. The strips of a
// head run from the last to the first (under a causal band, the longest first), followed by those of the next head of the
// same key head. The dK and dV of a chunk are summed in this order for any number of threads: a strip waits at a chunk
// until all earlier strips have left it; `left_by` counts them. No two strips write to a chunk at the same time, and only
// the counters are atomic. Memory besides the results: one strip per thread.
//
// A chain is a sequence of strips whose order must be kept: those of a key head's query heads, or those of all heads that
// share the gradient of a bias. Threads follow one another through a chain, a chunk apart, so its keys stay in cache.
// Several chains run side by side only if one is too short for all threads, or if a chain must run on
// one thread (BackwardPlan::abreast). Bits depend on lengths and widths alone.
#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/backward/backward.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/kernels.h"

#if CLEARHEAD_TARGET_HAS_KERNELS
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <numbers>
#include <thread>
#include <vector>

#include "backends/cpu/backward/chunk-inl.h"
#include "backends/cpu/backward/gather-inl.h"
#include "backends/cpu/backward/plan-inl.h"
#include "backends/cpu/forward/running_sums-inl.h"
#include "backends/cpu/score/row_shift.h"
#include "backends/cpu/simd/scratch.h"
#include "base/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
namespace {

// P is scaled by 2^kHeadroom and dO by 2^−kHeadroom, so that weights below 2^−126 still count.
constexpr int kHeadroom = 16;

// The computation of one strip of one head on one thread, block by block and chunk by chunk.
struct StripJob : StripTerms {
  BackwardScratch scratch;
  StripBlock blocks[kMostBlocks];
  int block_count = 0;
  float *out_row = nullptr, *d_out_row = nullptr;  // [padded d_v] each; d_out_row for bf16 only
  float* words = nullptr;                          // bf16: [kBlock][value words]: rows of dO·f
  double *mask_sum = nullptr, *centre_sums = nullptr;

  StripJob(BackwardPlan& backward, int64_t head_index, int64_t which) : StripTerms(backward, head_index, which) {
    mask_sum = sums + plan.d_terms.size() + 1;
    if (plan.d_centres) centre_sums = backward.centre_sums.data() + index * plan.rows;
    lay_out();
    pack(sums + plan.d_terms.size());
  }

  void lay_out() {
    const int64_t d_k = plan.d_k, d_v = plan.d_v, wide_k = round_up(d_k, 16), wide_v = round_up(d_v, 16);
    const int64_t steps = plan.is_bf16 ? kBlock / 2 : kBlock, value_words = round_up(keys.value_words, 16);
    const int64_t per_block = (view.d_k + d_k + keys.value_words) * kBlock;
    const int64_t rows = wide_v + (plan.is_bf16 ? wide_v + value_words * kBlock : 0);
    const Range of = plan.rows_of(strip);
    block_count = static_cast<int>((of.size() + kBlock - 1) / kBlock);
    int64_t rule_floats = 0;
    for (const auto& rule : plan.rules) rule_floats = std::max(rule_floats, rule ? rule->reverse.group_floats() : 0);
    const int64_t blocks_of_rows = block_count + block_count % 2;  // AMX processes blocks in pairs
    const int64_t row_floats = blocks_of_rows * (wide_k + wide_v) * steps;
    float* memory =
        ThreadScratch::floats(row_floats + block_count * per_block + rows + BackwardScratch::floats(view, d_k, d_v, rule_floats));
    if (plan.is_bf16) std::fill_n(memory, row_floats, 0.0F);  // rows past the strip's end must be zero
    float *q_rows = memory, *d_out_rows = memory + blocks_of_rows * wide_k * steps;
    memory += row_floats;
    for (StripBlock* block = blocks; block < blocks + block_count; ++block) {
      block->q_rows = q_rows;
      block->d_out_rows = d_out_rows;
      block->queries.qt = memory;
      block->d_q_t = memory + view.d_k * kBlock;
      block->d_out_t = block->d_q_t + d_k * kBlock;
      memory += per_block;
      q_rows += wide_k * steps;
      d_out_rows += wide_v * steps;
    }
    out_row = memory;
    d_out_row = out_row + wide_v;
    words = d_out_row + wide_v;
    scratch.lay_out(view, d_k, d_v, memory + rows);
  }

  // If the last block would have one vector, it takes one from the block before it, as in the forward pass
  // (rows_of_block).
  void pack(double* sink_sum) {
    const Range of = plan.rows_of(strip);
    int64_t begin = of.begin;
    for (StripBlock* block = blocks; block < blocks + block_count; ++block) {
      const int64_t left = of.end - begin, vectors = (left + kLanes - 1) / kLanes;
      const int count = static_cast<int>(std::min<int64_t>(left, vectors == kVectors + 1 ? 2 * kLanes : kBlock));
      pack_block(begin, count, *block, sink_sum);
      begin += count;
    }
  }

  void pack_block(int64_t begin, int count, StripBlock& block, double* sink_sum) {
    int64_t rows[kBlock];
    for (int i = 0; i < count; ++i) rows[i] = begin + i;
    pack_queries(view, rows, count, block.queries);
    for (int i = 0; i < kBlock; ++i) {
      block.m[i] = kNoRow;
      block.minus_mean[i] = 0;
      block.mean[i] = block.mask_sum[i] = block.centre_sum[i] = 0;
      block.chosen[i] = -1;
      block.share[i] = 0;
      block.threshold[i] = 0;
      block.divisor[i] = has_threshold(view.kind) ? 0 : 1;
    }
    std::fill(block.d_q_t, block.d_q_t + plan.d_k * kBlock, 0.0F);
    if (plan.is_bf16) return pack_words(begin, count, block, sink_sum);
    const int64_t wide_k = round_up(plan.d_k, 16), wide_v = round_up(plan.d_v, 16);
    const float* from[kBlock];
    for (int i = 0; i < kBlock; ++i) from[i] = block.d_out_rows + std::min(i, count - 1) * wide_v;
    for (int i = 0; i < count; ++i) pack_row(begin + i, i, block, sink_sum);
    to_lanes(from, 1, plan.d_v, block.queries.vectors, 1.0F, block.d_out_t);
    for (int i = 0; i < count; ++i) {
      copy_row(view.queries + (begin + i) * view.query_stride, view.query_channel, plan.d_k, plan.scale, block.q_rows + i * wide_k);
    }
  }

  // to[channel] = factor·from[channel·step], then zeros up to a multiple of 16.
  static void copy_row(const float* from, int64_t step, int64_t width, float factor, float* to) {
    if (step == 1) {
      for (int64_t c = 0; c < width; ++c) to[c] = from[c] * factor;
    } else {
      for (int64_t c = 0; c < width; ++c) to[c] = from[c * step] * factor;
    }
    std::fill(to + width, to + round_up(width, 16), 0.0F);
  }

  // Returns true if D = dO·O, so that D can be computed from out.
  bool out_gives_mean() const {
    return view.kind == WeightKind::kSoftmax || view.kind == WeightKind::kLinear ||
           (view.kind == WeightKind::kHard && view.by_score_function);
  }

  // Returns the incoming gradient of the row's log-sum-exp, or 0 if there is none. It is subtracted from D.
  float d_log_sum_exp(int64_t row) const {
    const Tensor& given = plan.call.d_log_sum_exp;
    return given.defined() ? given.data<float>()[batch * given.stride(0) + head * given.stride(1) + row * given.stride(2)] : 0.0F;
  }

  // Packs M and dO·f of one row (chunk-inl.h), and −D·f if D can be computed from out.
  void pack_row(int64_t row, int lane, StripBlock& block, double* sink_sum) const {
    const F32 d;
    const Tensor &d_out = plan.call.d_out, &out = plan.call.out;
    float* to = block.d_out_rows + lane * round_up(plan.d_v, 16);
    const RowShift shift = row_shift(plan.call.record, batch, head, row);
    if (shift.saw_nothing) {
      std::fill(to, to + round_up(plan.d_v, 16), 0.0F);
      return;
    }
    const auto row_of = [&](const Tensor& t) { return t.data<float>() + batch * t.stride(0) + head * t.stride(1) + row * t.stride(2); };
    float factor = shift.inverse, m = shift.m;
    if (view.kind == WeightKind::kHard) block.chosen[lane] = shift.m;
    if (view.kind == WeightKind::kSoftmax && factor > 0 && std::isfinite(factor)) {
      // Beyond kWholeScores, m − power may not be representable in f32.
      const int power = std::abs(m) < kWholeScores ? std::ilogb(factor) + kHeadroom : 0;
      factor = std::ldexp(factor, -power);
      m -= static_cast<float>(power);
    }
    if (view.kind == WeightKind::kLinear) factor *= kLog2E;
    copy_row(row_of(d_out), d_out.stride(3), plan.d_v, factor, to);
    block.m[lane] = m;
    block.threshold[lane] = shift.threshold;
    if (!out_gives_mean()) return;
    copy_row(row_of(out), out.stride(3), plan.d_v, 1.0F, out_row);
    Floats sum = hn::Zero(d);
    for (int64_t c = 0; c < round_up(plan.d_v, 16); c += kLanes) sum = hn::MulAdd(hn::Load(d, to + c), hn::Load(d, out_row + c), sum);
    const float mean = hn::GetLane(hn::SumOfLanes(d, sum)) - factor * d_log_sum_exp(row);
    block.minus_mean[lane] = -mean;
    if (view.sink) *sink_sum -= std::exp2(sink_of(view) - static_cast<double>(m)) * static_cast<double>(mean);
  }

  // Packs dO·2^−16 and q, both as words of two channels in lanes and as words of two rows; also M and −D·2^−16.
  void pack_words(int64_t begin, int count, StripBlock& block, double* sink_sum) const {
    const int64_t wide_k = round_up(plan.d_k, 16), wide_v = round_up(plan.d_v, 16), value_words = round_up(keys.value_words, 16);
    const float* from[kBlock];
    for (int i = 0; i < kBlock; ++i) from[i] = words + std::min(i, count - 1) * value_words;
    for (int i = 0; i < count; ++i) pack_row_of_words(begin + i, i, block, words + i * value_words, sink_sum);
    to_lanes(from, 1, keys.value_words, block.queries.vectors, 1.0F, block.d_out_t);
    const auto interleave_rows = [&](const float* rows, int64_t stride, int64_t width, int64_t wide, float* to) {
      for (int i = 0; i < count; i += 2, to += wide) {
        const auto row = [&](int lane) { return reinterpret_cast<const uint16_t*>(rows + lane * stride); };
        interleave(row(i), i + 1 < count ? row(i + 1) : nullptr, 1, width, to);
        std::fill(to + width, to + wide, 0.0F);
      }
    };
    interleave_rows(words, value_words, plan.d_v, wide_v, block.d_out_rows);
    interleave_rows(view.queries + begin * view.query_stride, view.query_stride, plan.d_k, wide_k, block.q_rows);
  }
  void pack_row_of_words(int64_t row, int lane, StripBlock& block, float* to, double* sink_sum) const {
    const F32 d;
    const RowShift shift = row_shift(plan.call.record, batch, head, row);
    std::fill(to, to + keys.value_words, 0.0F);
    if (shift.saw_nothing) return;
    const auto widen = [&](const Tensor& t, float factor, float* wide) {
      const auto* at = reinterpret_cast<const uint16_t*>(t.raw()) + batch * t.stride(0) + head * t.stride(1) + row * t.stride(2);
      const int64_t step = t.stride(3);
      const auto f32 = [](uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); };
      if (step == 1) {
        for (int64_t c = 0; c < plan.d_v; ++c) wide[c] = f32(at[c]) * factor;
      } else {
        for (int64_t c = 0; c < plan.d_v; ++c) wide[c] = f32(at[c * step]) * factor;
      }
      std::fill(wide + plan.d_v, wide + round_up(plan.d_v, 16), 0.0F);
    };
    // If m is large, f32 would lose log₂ℓ and the headroom in M. dO is multiplied by 1/ℓ instead, and then rounded to bf16
    // once more.
    const bool is_large = std::abs(shift.m) >= kWholeScores && std::isfinite(shift.inverse);
    const float factor = is_large ? shift.inverse : std::ldexp(1.0F, -kHeadroom);
    widen(plan.d_out, factor, d_out_row);
    for (int64_t c = 0; c < plan.d_v && is_large; ++c) d_out_row[c] = bf16_to_f32(f32_to_bf16(d_out_row[c]));
    widen(plan.call.out, 1.0F, out_row);
    Floats sum = hn::Zero(d);
    for (int64_t c = 0; c < round_up(plan.d_v, 16); c += kLanes)
      sum = hn::MulAdd(hn::Load(d, d_out_row + c), hn::Load(d, out_row + c), sum);
    const float mean = hn::GetLane(hn::SumOfLanes(d, sum)) - factor * d_log_sum_exp(row);
    auto* halves = reinterpret_cast<uint16_t*>(to);
    for (int64_t c = 0; c < plan.d_v; ++c) halves[c] = static_cast<uint16_t>(std::bit_cast<uint32_t>(d_out_row[c]) >> 16);
    const double m = is_large ? static_cast<double>(shift.m) : shift.log_sum_exp2 - kHeadroom;
    block.m[lane] = static_cast<float>(m);
    block.minus_mean[lane] = -mean;
    if (view.sink) *sink_sum -= std::exp2(sink_of(view) - m) * static_cast<double>(mean);
  }

  // Extra passes over all keys: the shifts of hard attention, and D if it cannot be computed from out.
  void look_before(ChunkJob<Way::kGeneral>& job, Range chunks) {
    if (view.kind == WeightKind::kHard) find_choices(job, chunks);
    if (out_gives_mean() || view.kind == WeightKind::kSigmoid) return;
    for (StripBlock* block = blocks; block < blocks + block_count; ++block) {
      for (int64_t chunk = chunks.begin; chunk < chunks.end; ++chunk) job.find_means(*block, chunk * kChunkKeys);
      for (int i = 0; i < block->queries.count; ++i)
        block->minus_mean[i] = block->divisor[i] == 0 ? 0 : -static_cast<float>(block->mean[i] / block->divisor[i]);
    }
  }
  // Sets M and `share` from the log-sum-exp of the row's softmax in base 2, which is the chosen key's score minus its
  // log-probability.
  void find_choices(ChunkJob<Way::kGeneral>& job, Range chunks) {
    const Tensor& l = plan.call.record.rows.l;
    for (StripBlock* block = blocks; block < blocks + block_count; ++block) {
      for (int64_t chunk = chunks.begin; chunk < chunks.end; ++chunk) job.find_choices(*block, chunk * kChunkKeys);
      for (int i = 0; i < block->queries.count; ++i) {
        if (block->chosen[i] == -1) continue;
        const float log = l.data<float>()[batch * l.stride(0) + head * l.stride(1) + block->queries.query[i] * l.stride(2)];
        const double chosen = static_cast<double>(block->m[i]), log2 = static_cast<double>(log) * std::numbers::log2e;
        const double whole = std::abs(block->m[i]) < kWholeScores ? std::floor(chosen - log2) : chosen;
        block->m[i] = static_cast<float>(whole);
        block->share[i] = static_cast<float>(std::exp2(whole - chosen + log2));
      }
    }
  }

  template <Way kWay>
  void work(ChunkJob<kWay>& job, int64_t chunk) {
    constexpr int kTogether = ChunkJob<kWay>::kTogether;
    job.begin_chunk(chunk);
    for (int first = 0; first < block_count; first += kTogether) job.work(blocks + first, std::min(kTogether, block_count - first), chunk);
  }
  // Called after the last strip of a key head has left a chunk. Multiplies dK by the scale, which bf16 rows of q do not
  // contain.
  void scale_keys(int64_t chunk) const {
    float* first = keys.d_keys + chunk * plan.d_k;
    const int64_t floats = std::min(kChunkKeys, plan.keys - chunk) * plan.d_k;
    for (int64_t i = 0; i < floats; ++i) first[i] *= plan.scale;
  }

  // Stores the block's contributions to the gradients of the head mask and of the Gaussian's centres.
  void store_after(const StripBlock& block) const {
    for (int i = 0; i < block.queries.count; ++i) {
      if (plan.d_mask) *mask_sum += block.mask_sum[i];
      if (plan.d_centres) centre_sums[block.queries.query[i]] = block.centre_sum[i];
    }
  }

  // Writes dQ. Returns whether dQ and the gradient of the score function's weights are finite.
  bool store() {
    alignas(64) float factor[kBlock];
    std::fill(factor, factor + kBlock, plan.scale);
    OutputRows to;
    bool finite = true;
    float* row = plan.d_q + (index * plan.rows + plan.rows_of(strip).begin) * plan.d_k;
    for (StripBlock* block = blocks; block < blocks + block_count; ++block) {
      for (int i = 0; i < block->queries.count; ++i, row += plan.d_k) to.rows[i] = row;
      store_after(*block);
      finite = store_outputs(block->d_q_t, factor, block->queries, plan.d_k, to, scratch.spare) && finite;
    }
    for (int64_t c = 0; plan.has_weight && c < plan.d_k; ++c) finite = finite && std::isfinite(keys.d_weight[c]);
    return finite;
  }
};

// --- the order of strips --------------------------------------------------------------------------------------------

// Runs the given chains. The strips of a chain are numbered in their order: heads ascending, strips of a head descending.
class BackwardRun {
 public:
  BackwardRun(BackwardPlan& plan, const BackwardChoice& choice, std::vector<int64_t> chains, bool careful)
      : plan_(plan),
        choice_(choice),
        chains_(std::move(chains)),
        careful_(careful),
        left_by_(chains_.size() * static_cast<size_t>(plan.chunks)) {
    per_head_.assign(static_cast<size_t>(plan.chunks), 0);
    for (const Range& of : plan.seen) {
      for (int64_t chunk = of.begin; chunk < of.end; ++chunk) ++per_head_[static_cast<size_t>(chunk)];
    }
  }

  void run() {
    const int64_t all = static_cast<int64_t>(chains_.size()), length = plan_.strips_of_chain();
    // Number of chains that run side by side. Running two chains at a time is 6 % slower than running one (d = 128).
    const int64_t abreast = std::clamp<int64_t>(2 * threads() / length, 1, all);
    if (!plan_.abreast) {
      for_items(all, [&](int64_t at, int) {
        for (int64_t number = 0; number < length; ++number) run_strip(at, number);
      });
      return;
    }
    for_items(all * length, [&](int64_t item, int) {
      const int64_t first = item / (abreast * length) * abreast, side_by_side = std::min(abreast, all - first);
      const int64_t inside = item - first * length;
      try {
        run_strip(first + inside % side_by_side, inside / side_by_side);
      } catch (...) {
        failed_.store(true, std::memory_order_relaxed);  // ends the wait of strips that depend on this one
        throw;
      }
    });
  }

 private:
  void run_strip(int64_t at, int64_t number) {
    if constexpr (kHasBf16Dot) {
      if (choice_.products == Products::kAmx) return run_strip_as<Way::kAmx>(at, number);
      if (choice_.products == Products::kBf16Dot) return run_strip_as<Way::kBf16Dot>(at, number);
    }
    choice_.driver == BackwardDriver::kFlash ? run_strip_as<Way::kSoftmax>(at, number) : run_strip_as<Way::kGeneral>(at, number);
  }
  template <Way kWay>
  void run_strip_as(int64_t at, int64_t number) {
    const int64_t index = chains_[static_cast<size_t>(at)] * plan_.chain_heads + number / plan_.strips;
    const int64_t strip = plan_.strips - 1 - number % plan_.strips;
    StripJob strip_job(plan_, index, strip);
    ChunkJob<kWay> job(strip_job.view, strip_job.keys, strip_job.scratch, strip_job.wanted, careful_);
    const Range of = plan_.seen[static_cast<size_t>(strip)];
    if constexpr (kWay == Way::kGeneral) strip_job.look_before(job, of);
    for (int64_t chunk = of.begin; chunk < of.end; ++chunk) {
      std::atomic<int32_t>& left_by = left_by_[static_cast<size_t>(at * plan_.chunks + chunk)];
      const int64_t head = number / plan_.strips, earlier = strips_before(strip, chunk), of_head = per_head_[static_cast<size_t>(chunk)];
      const int64_t before = head * of_head + earlier;
      if (!wait(left_by, static_cast<int32_t>(before))) return;
      strip_job.work(job, chunk * kChunkKeys);
      const bool is_last = head % plan_.problem.group() == plan_.problem.group() - 1 && earlier == of_head - 1;
      if (kIsNarrow<kWay> && is_last) strip_job.scale_keys(chunk * kChunkKeys);
      left_by.store(static_cast<int32_t>(before + 1), std::memory_order_release);
    }
    strip_job.finish_rules();
    plan_.finite[static_cast<size_t>(index * plan_.strips + strip)] = strip_job.store();
  }

  // The number of strips of the same head that visit the chunk before this one.
  int64_t strips_before(int64_t strip, int64_t chunk) const {
    int64_t count = 0;
    for (int64_t other = strip + 1; other < plan_.strips; ++other) {
      const Range of = plan_.seen[static_cast<size_t>(other)];
      count += of.begin <= chunk && chunk < of.end;
    }
    return count;
  }

  // Waits until `count` strips have left a chunk. Strips are started in order, so those strips have been started. Returns
  // false if a strip failed.
  bool wait(const std::atomic<int32_t>& left_by, int32_t count) const {
    for (int spins = 0; left_by.load(std::memory_order_acquire) != count; ++spins) {
      if (failed_.load(std::memory_order_relaxed)) return false;
      if (spins < 4096) {
        hwy::Pause();
      } else {
        std::this_thread::yield();
      }
    }
    return true;
  }

  BackwardPlan& plan_;
  const BackwardChoice& choice_;
  std::vector<int64_t> chains_;
  bool careful_;
  std::vector<std::atomic<int32_t>> left_by_;  // [chain][chunk]
  std::vector<int64_t> per_head_;              // [chunk]: number of strips of a head that visit it
  std::atomic<bool> failed_{false};
};

// Calls f(data, number of floats) for the dK and the dV of a chain.
template <class F>
void for_each_sum(const BackwardPlan& plan, int64_t chain, F&& f) {
  const int64_t group = plan.problem.group(), first = chain * plan.chain_heads, key_heads = plan.chain_heads / group;
  f(plan.d_k_data + first / group * plan.keys * plan.d_k, key_heads * plan.keys * plan.d_k);
  f(plan.d_v_data + first / group * plan.keys * plan.d_v, key_heads * plan.keys * plan.d_v);
}

void clear(BackwardPlan& plan, const std::vector<int64_t>& chains) {
  parallel_for(static_cast<int64_t>(chains.size()), [&](int64_t at, int) {
    const int64_t chain = chains[static_cast<size_t>(at)], first = chain * plan.chain_heads;
    std::fill_n(plan.entry_sums.begin() + chain * plan.entries, plan.entries, 0.0);
    for (BackwardPlan::OffsetTable& table : plan.offset_tables) {
      if (table.gradient) std::fill_n(table.of(first), plan.chain_heads * table.floats, 0.0F);
    }
    for_each_sum(plan, chain, [](float* data, int64_t count) { std::fill(data, data + count, 0.0F); });
    for (size_t t = 0; t < plan.d_terms.size(); ++t) {
      const Tensor* gradient = plan.d_terms[t];
      if (!gradient || gradient->rank() == 1 || !plan.d_terms_data[t]) continue;
      for (int64_t index = first; index < first + plan.chain_heads; ++index) {
        float* data = plan.d_terms_data[t] + index / plan.heads() * broadcast_stride(*gradient, 0) +
                      index % plan.heads() * broadcast_stride(*gradient, 1);
        std::fill_n(data, gradient->numel() / gradient->size(0) / gradient->size(1), 0.0F);
      }
    }
  });
}

std::vector<int64_t> chains_with_gaps(const BackwardPlan& plan) {
  std::vector<uint8_t> good(static_cast<size_t>(plan.chains), 1);
  parallel_for(plan.chains, [&](int64_t chain, int) {
    bool finite = true;
    for_each_sum(plan, chain, [&](const float* data, int64_t count) { finite = finite && is_finite(data, count); });
    const auto first = plan.finite.begin() + chain * plan.strips_of_chain();
    finite = finite && std::all_of(first, first + plan.strips_of_chain(), [](uint8_t ok) { return ok != 0; });
    good[static_cast<size_t>(chain)] = finite;
  });
  std::vector<int64_t> out;
  for (int64_t chain = 0; chain < plan.chains; ++chain) {
    if (!good[static_cast<size_t>(chain)]) out.push_back(chain);
  }
  return out;
}

// Writes the gradient of the Gaussian's centres: one number per row, summed over the heads and sequences that share it.
void store_centres(BackwardPlan& plan) {
  if (!plan.d_centres || plan.d_centres->numel() == 0) return;
  Tensor& to = *plan.d_centres;
  const double sigma = static_cast<double>(plan.call.record.spec.after.gaussian->sigma), narrow = 1 / (sigma * sigma);
  std::vector<double> sums(static_cast<size_t>(to.numel()), 0);
  for (int64_t index = 0; index < plan.problem.batch() * plan.heads(); ++index) {
    const int64_t first = index / plan.heads() * broadcast_stride(to, 0) + index % plan.heads() * broadcast_stride(to, 1);
    for (int64_t row = 0; row < plan.rows; ++row) {
      sums[static_cast<size_t>(first + row)] += plan.centre_sums[static_cast<size_t>(index * plan.rows + row)] * narrow;
    }
  }
  float* data = to.mutable_data<float>();
  for (size_t i = 0; i < sums.size(); ++i) data[i] = static_cast<float>(sums[i]);
}

// Writes the gradient of a rule's table: the sums of all chains, added in chain order.
void store_entries(const BackwardPlan& plan, Tensor* to, int64_t first) {
  if (!to || to->numel() == 0) return;
  float* data = to->mutable_data<float>();
  for (int64_t entry = 0; entry < to->numel(); ++entry) {
    double sum = 0;
    for (int64_t chain = 0; chain < plan.chains; ++chain) sum += plan.entry_sums[static_cast<size_t>(chain * plan.entries + first + entry)];
    data[entry] = static_cast<float>(sum);
  }
}

// Writes the gradient of additive weights or of a relative score's query bias, which is per head or shared: summed over
// strips, then heads, then sequences.
void store_weights(const BackwardPlan& plan) {
  if (!plan.d_weight || plan.d_weight->numel() == 0) return;
  float* data = plan.d_weight->mutable_data<float>();
  std::vector<double> sums(static_cast<size_t>(plan.d_weight->numel()), 0);
  for (int64_t index = 0; index < plan.problem.batch() * plan.heads(); ++index) {
    const int64_t first = index % plan.heads() * broadcast_stride(*plan.d_weight, 0);
    for (int64_t strip = 0; strip < plan.strips; ++strip) {
      const double* from = plan.weight_sums.data() + (index * plan.strips + strip) * plan.d_k;
      for (int64_t c = 0; c < plan.d_k; ++c) sums[static_cast<size_t>(first + c)] += from[c];
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) data[i] = static_cast<float>(sums[i]);
}

// Writes the gradients of a relative score's tables, summed over heads and sequences in order.
void store_offset_tables(BackwardPlan& plan) {
  for (BackwardPlan::OffsetTable& table : plan.offset_tables) {
    if (!table.gradient || table.gradient->numel() == 0) continue;
    float* data = table.gradient->mutable_data<float>();
    std::fill_n(data, table.gradient->numel(), 0.0F);
    for (int64_t index = 0; index < plan.problem.batch() * plan.heads(); ++index) {
      float* to = data + index % plan.heads() * broadcast_stride(*table.gradient, 0);
      const float* from = table.of(index);
      for (int64_t i = 0; i < table.floats; ++i) to[i] += from[i];
    }
  }
}

// Writes the gradients of ALiBi slopes, sinks and head mask (one number per head, summed over sequences and strips in
// order), then all other gradients that are sums over strips or chains.
void store_sums(BackwardPlan& plan) {
  const auto store = [&](Tensor* to, size_t slot) {
    if (!to || to->numel() == 0) return;
    float* data = to->mutable_data<float>();
    for (int64_t head = 0; head < plan.heads(); ++head) {
      double sum = 0;
      for (int64_t batch = 0; batch < plan.problem.batch(); ++batch) {
        for (int64_t strip = 0; strip < plan.strips; ++strip) {
          sum += plan.sums[static_cast<size_t>(plan.sums_of(batch * plan.heads() + head, strip)) + slot];
        }
      }
      data[head] = static_cast<float>(sum);
    }
  };
  for (size_t t = 0; t < plan.d_terms.size(); ++t) {
    if (plan.d_terms[t] && plan.d_terms[t]->rank() == 1) store(plan.d_terms[t], t);
  }
  store(plan.d_sinks, plan.d_terms.size());
  store(plan.d_mask, plan.d_terms.size() + 1);
  // The sums contain the weights after dropout, but without dropout's factor 1/(1 − rate).
  if (plan.d_mask && plan.call.record.spec.after.dropout) {
    float* data = plan.d_mask->numel() > 0 ? plan.d_mask->mutable_data<float>() : nullptr;
    const double kept = 1 / (1 - static_cast<double>(plan.call.record.spec.after.dropout->rate));
    for (int64_t head = 0; head < plan.d_mask->numel(); ++head) data[head] = static_cast<float>(static_cast<double>(data[head]) * kept);
  }
  store_centres(plan);
  store_weights(plan);
  store_offset_tables(plan);
  for (const auto& rule : plan.rules) {
    for (size_t table = 0; rule && table < rule->d_tables.size(); ++table) {
      store_entries(plan, rule->d_tables[table], rule->first_entry[table]);
    }
  }
  const auto& visible = plan.call.record.spec.topology.visible;
  // Visibility is a step function of its tables, so their gradient is zero.
  for (size_t i = 0; visible && i < visible->tables.size(); ++i) {
    Tensor* zeros = plan.gradient_of(visible->tables[i]);
    if (zeros) std::fill_n(zeros->mutable_data<float>(), zeros->numel(), 0.0F);
  }
}

}  // namespace

void backward(const BackwardCall& call, const BackwardChoice& choice) {
  const bool is_empty = call.record.q.size(0) * call.record.q.size(1) * call.record.query_length == 0;
  if (choice.driver == BackwardDriver::kChunkLinear && !is_empty) return backward_chunk_linear(call);
  BackwardPlan plan(call, choice);
  std::vector<int64_t> chains;
  for (int64_t chain = 0; chain < plan.chains; ++chain) chains.push_back(chain);
  if (choice.driver == BackwardDriver::kGather && !is_empty) {
    clear(plan, chains);
    backward_gather(plan);
    return store_sums(plan);
  }
  for (const bool careful : {false, true}) {
    clear(plan, chains);
    if (chains.empty() || plan.strips == 0) break;
    BackwardRun(plan, choice, chains, careful).run();
    chains = chains_with_gaps(plan);
  }
  store_sums(plan);
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
