// Split-KV: few rows over many keys. There are too few blocks to keep the threads busy, so keys are also split into
// chunks. Included once per target.
//
//   (m, ℓ, O) per block and chunk  →  m* = max m,  ℓ = Σ ℓ·2^(m − m*),  O = Σ O·2^(m − m*)  in chunk order
//
// Chunk boundaries depend only on query length, key length and query heads per key head (dispatch.cc).
#if defined(CLEARHEAD_CPU_FORWARD_SPLIT_KV_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_SPLIT_KV_INL_H_
#undef CLEARHEAD_CPU_FORWARD_SPLIT_KV_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_SPLIT_KV_INL_H_
#endif

#include <algorithm>
#include <vector>

#include "backends/cpu/forward/flash-inl.h"
#include "base/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// A block's state after one chunk: m and ℓ [kBlock] each, then O [d_v][kBlock].
struct ChunkState {
  float* data = nullptr;
  float* m() const { return data; }
  float* l() const { return data + kBlock; }
  float* o() const { return data + 2 * kBlock; }
};

inline void attend_chunk(BlockJob<>& job, Range keys, const ChunkState& state) {
  const int64_t o_floats = job.softmax.d_v * kBlock;
  job.attend(keys, false);
  if (!is_finite(job.softmax.o, o_floats) || !is_finite(job.softmax.l, kBlock)) job.attend(keys, true);
  std::copy(job.softmax.m, job.softmax.m + kBlock, state.m());
  std::copy(job.softmax.l, job.softmax.l + kBlock, state.l());
  std::copy(job.softmax.o, job.softmax.o + o_floats, state.o());
}

// Merges the states of all chunks of a block, in chunk order.
inline void merge_chunks(const float* first, int64_t chunks, int64_t stride, SoftmaxBlock& softmax) {
  const F32 d;
  softmax.reset();
  for (int v = 0; v < kVectors; ++v) {
    const int at = v * kLanes;
    Floats m = hn::Set(d, kNone);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) m = hn::Max(m, hn::LoadU(d, first + chunk * stride + at));
    hn::Store(m, d, softmax.m + at);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const ChunkState state{const_cast<float*>(first + chunk * stride)};
      const Floats factor = scale_by_power(hn::Set(d, 1.0F), hn::LoadU(d, state.m() + at) - m);
      hn::Store(hn::MulAdd(hn::LoadU(d, state.l() + at), factor, hn::Load(d, softmax.l + at)), d, softmax.l + at);
      for (int64_t c = 0; c < softmax.d_v; ++c) {
        float* o = softmax.o + c * kBlock + at;
        hn::Store(hn::MulAdd(hn::LoadU(d, state.o() + c * kBlock + at), factor, hn::Load(d, o)), d, o);
      }
    }
  }
}

inline void forward_split_kv(const ForwardPlan& plan, int64_t chunk_keys) {
  const std::vector<BlockRange> blocks = split_rows(plan.problem.view(0, 0), plan.rows);
  const int64_t per_head = static_cast<int64_t>(blocks.size()), heads = plan.problem.batch() * plan.problem.heads();
  const int64_t keys = key_length(plan.call.keys), chunks = (keys + chunk_keys - 1) / chunk_keys;
  const int64_t state_floats = (plan.d_v + 2) * kBlock;
  std::vector<float> states(static_cast<size_t>(heads * per_head * chunks * state_floats));
  const auto job_of = [&](int64_t index) {
    const int64_t head = index / per_head;
    const BlockRange& block = blocks[static_cast<size_t>(index % per_head)];
    return BlockJob<>(plan, head / plan.problem.heads(), head % plan.problem.heads(), block.begin, block.count);
  };
  for_items(heads * per_head * chunks, [&](int64_t item, int) {
    const int64_t chunk = item % chunks;
    BlockJob<> job = job_of(item / chunks);
    attend_chunk(job, {chunk * chunk_keys, std::min(keys, (chunk + 1) * chunk_keys)}, {states.data() + item * state_floats});
  });
  parallel_for(heads * per_head, [&](int64_t index, int) {
    BlockJob<> job = job_of(index);
    merge_chunks(states.data() + index * chunks * state_floats, chunks, state_floats, job.softmax);
    job.finish(plan);
  });
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
