// Data structures of the backward pass: a block of up to 48 rows, a head's keys and values, and a thread's scratch.
// Included once per target.
#if defined(CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_
#endif

#include <algorithm>
#include <limits>
#include <type_traits>

#include "backends/cpu/score/amx-inl.h"
#include "backends/cpu/score/lane_products-inl.h"
#include "backends/cpu/score/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// P and dS of the blocks that are processed together take 96 KB; they share L2 with the strip.
inline constexpr int64_t kChunkKeys = 128;
inline constexpr int kGroups = kChunkKeys / kRows;
static_assert(kKeyTile % kChunkKeys == 0);

// How weights are computed, and whether operands are bf16. M and f: chunk-inl.h.
//
//   kSoftmax         softmax without factors after it
//   kGeneral         any normaliser, with factors after it
//   kBf16Dot, kAmx   softmax without factors after it, of bf16 operands. Products multiply words of two bf16 as in the
//                    forward pass: two channels for S and dP, two keys for dQ, two queries for dV and dK. P and dS are
//                    rounded to bf16 for the products; terms receive dS before it is rounded. f is 2^−16 and M is not an
//                    integer, so dO·f is as exact as dO. Both use the same operands (amx-inl.h).
enum class Way : uint8_t { kSoftmax, kGeneral, kBf16Dot, kAmx };
template <Way kWay>
inline constexpr bool kIsNarrow = kWay == Way::kBf16Dot || kWay == Way::kAmx;
template <Way kWay>
using StepOf = std::conditional_t<kIsNarrow<kWay>, Bf16DotStep, DotStep>;
// Floats from one key's P to the next key's: the words of a block or, with AMX, those of all blocks that are processed
// together.
template <Way kWay>
inline constexpr int kWordsOfKey = kStepsOfBlock<StepOf<kWay>>*(kWay == Way::kAmx ? kParts<Bf16DotStep> : 1);

// M of lanes that have no row: 2^(s − M) is 0 for every finite score, even the largest f32.
inline constexpr float kNoRow = std::numeric_limits<float>::infinity();

// Up to 48 rows of q and dO in two layouts. Queries in lanes: [channel][kBlock]. Rows: [lane][padded width], zeros past
// the width. In bf16, the first layout holds words of two channels, the second words of two rows; d_q_t is always f32.
struct StripBlock {
  QueryBlock queries;
  alignas(64) float m[kBlock], minus_mean[kBlock];  // M and −D
  alignas(64) float threshold[kBlock];              // for normalisers that have one
  alignas(64) double divisor[kBlock];               // Σ g so far, if D needs it; else 1
  // Hard attention: the chosen key, and the factor that turns 2^(s − M) into the row's softmax.
  alignas(64) float chosen[kBlock], share[kBlock];
  alignas(64) double mean[kBlock];  // Σ g·dP so far
  alignas(64) double mask_sum[kBlock], centre_sum[kBlock];
  float *d_out_t = nullptr, *d_q_t = nullptr;
  // q·scale (in bf16: q) and dO·f. The rows of a strip's blocks are contiguous.
  float *q_rows = nullptr, *d_out_rows = nullptr;
};

// A head's keys and values, and the destinations of their gradients.
struct KeySide {
  // Row-major, channels contiguous. In bf16, two channels form one 32-bit word; value_stride and value_words count words.
  const float* values = nullptr;
  int64_t value_stride = 0, value_words = 0;
  int64_t d_k = 0, d_v = 0;
  float *d_keys = nullptr, *d_values = nullptr;  // [key][d_k], [key][d_v]
  // [d_k]: the strip's gradient of additive weights or of a relative score's query bias.
  double* d_weight = nullptr;
  // The gradients of a relative score's tables for this head; null if not wanted.
  float *d_offset_keys = nullptr, *d_offset_queries = nullptr, *d_offset_values = nullptr;
  float scale = 1;
};

// A thread's scratch memory. Its size is BackwardScratch::floats().
struct BackwardScratch {
  float *p = nullptr, *ds = nullptr;  // [kParts][kChunkKeys][kStepsOfBlock]; AMX: [kChunkKeys][kParts][kStepsOfBlock]
  // bf16: dS of one block as words of two keys, [kChunkKeys / 2][kBlock]
  float* turned = nullptr;
  // bf16: the chunk's keys as words of two keys, [kChunkKeys / 2][d_k]; for AMX in the layout of lay_out_for_amx.
  float* key_words = nullptr;
  float* value_products = nullptr;  // AMX: dP − D, [kAmxKeys][kBlock]
  float* value_tail = nullptr;      // [kAmxKeys][d_v]: copies of the last values
  // [kSide][padded width]: gradients of the last keys; also scratch for lay_out_for_amx.
  float* sum_tail = nullptr;
  float* spare = nullptr;          // a row for results that are not used
  float* before = nullptr;         // [term][kRows·kBlock]: input scores of soft caps and rules
  float* d_bias = nullptr;         // [term][kChunkKeys][kBlock]
  float* d_slopes = nullptr;       // [term][kBlock]
  float* rule = nullptr;           // scratch for running one rule in reverse over a group
  float* offset_values = nullptr;  // [kChunkKeys][kBlock]: dO·C[δ], C: table of values (Relative)
  TileScratch tile;

  static int64_t bf16_floats(const ScoreView& view, int64_t d_k) {
    return view.is_bf16 ? kChunkKeys / 2 * (kBlock + round_up(d_k, 16)) + kAmxKeys * kBlock : 0;
  }
  static int64_t floats(const ScoreView& view, int64_t d_k, int64_t d_v, int64_t rule_floats) {
    const int64_t terms = view.terms ? static_cast<int64_t>(view.terms->size()) : 0, width = round_up(std::max(d_k, d_v), 16);
    return bf16_floats(view, d_k) + 2 * kTwoBlocks * kChunkKeys * kBlock + (kAmxKeys + kSide) * width + std::max(width, kChunkKeys) +
           terms * (kRows + kChunkKeys + 1) * kBlock + tile_scratch_floats(view) + (view.relative.values ? kChunkKeys * kBlock : 0) +
           rule_floats;
  }
  void lay_out(const ScoreView& view, int64_t d_k, int64_t d_v, float* memory) {
    const int64_t terms = view.terms ? static_cast<int64_t>(view.terms->size()) : 0, width = round_up(std::max(d_k, d_v), 16);
    turned = memory;
    value_products = turned + kChunkKeys / 2 * kBlock;
    key_words = value_products + kAmxKeys * kBlock;
    p = memory + bf16_floats(view, d_k);
    ds = p + kTwoBlocks * kChunkKeys * kBlock;
    value_tail = ds + kTwoBlocks * kChunkKeys * kBlock;
    sum_tail = value_tail + kAmxKeys * width;
    spare = sum_tail + kSide * width;
    before = spare + std::max(width, kChunkKeys);
    d_bias = before + terms * kRows * kBlock;
    d_slopes = d_bias + terms * kChunkKeys * kBlock;
    tile = make_tile_scratch(view, d_slopes + terms * kBlock);
    offset_values = d_slopes + terms * kBlock + tile_scratch_floats(view);
    rule = offset_values + (view.relative.values ? kChunkKeys * kBlock : 0);
  }
};

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
