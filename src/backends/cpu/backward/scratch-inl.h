// What gradients keep: of 48 rows of a strip, of a head's keys and values, and of a thread. Included once per target.
#if defined(CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_
#undef CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_
#else
#define CLEARHEAD_CPU_BACKWARD_SCRATCH_INL_H_
#endif

#include <algorithm>
#include <type_traits>

#include "backends/cpu/score/amx-inl.h"
#include "backends/cpu/score/lane_products-inl.h"
#include "backends/cpu/score/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr int64_t kChunkKeys = 128;  // P and dS of a pair of blocks: 96 KB, in L2 beside the strip
inline constexpr int kGroups = kChunkKeys / kRows;
static_assert(kKeyTile % kChunkKeys == 0);

// How a block's weights are had: softmax alone; any normaliser, and what happens after; softmax alone by pairs of bf16, or by matrices of them.
enum class Way : uint8_t { kSoftmax, kGeneral, kBf16Dot, kAmx };
template <Way kWay>
inline constexpr bool kIsNarrow = kWay == Way::kBf16Dot || kWay == Way::kAmx;
template <Way kWay>
using StepOf = std::conditional_t<kIsNarrow<kWay>, Bf16DotStep, DotStep>;
// Words from one key's P to the next one's: those of a block; by matrices those of the blocks that go together.
template <Way kWay>
inline constexpr int kWordsOfKey = kStepsOfBlock<StepOf<kWay>>*(kWay == Way::kAmx ? kParts<Bf16DotStep> : 1);

// 48 rows of q and of dO, both ways round. Queries in lanes: [channel][kBlock]. Rows: [lane][padded width], zeros to the right.
// By pairs: words of two channels in lanes, rows of two lanes; but d_q_t in f32 as ever.
struct StripBlock {
  QueryBlock queries;
  alignas(64) float m[kBlock], minus_mean[kBlock];  // M and −D
  alignas(64) float threshold[kBlock];              // of normalisers with one, beside M
  alignas(64) double divisor[kBlock];               // Σ g so far, where D needs it; else 1
  alignas(64) float chosen[kBlock], share[kBlock];  // hard: the key, and what 2^(s − M) takes to be its row's softmax
  alignas(64) double mean[kBlock];                  // Σ g·dP so far
  alignas(64) double mask_sum[kBlock], centre_sum[kBlock];
  float *d_out_t = nullptr, *d_q_t = nullptr;
  float *q_rows = nullptr, *d_out_rows = nullptr;  // q·scale, by pairs q; dO·f. Those of a strip's blocks follow one another
};

// The head's keys and values, and where their gradients are summed.
struct KeySide {
  const float* values = nullptr;  // row-major, adjacent channels; by pairs words of them, as value_stride and value_words count
  int64_t value_stride = 0, value_words = 0;
  int64_t d_k = 0, d_v = 0;
  float *d_keys = nullptr, *d_values = nullptr;  // [key][d_k], [key][d_v]
  double* d_weight = nullptr;                    // [d_k]: of an additive pair's weight or a relative one's query bias, the strip's
  // Of a relative pair's tables, the head's; null where not wanted.
  float *d_offset_keys = nullptr, *d_offset_queries = nullptr, *d_offset_values = nullptr;
  float scale = 1;
};

// Memory of one thread. Sizes: BackwardScratch::floats.
struct BackwardScratch {
  float *p = nullptr, *ds = nullptr;  // [kParts][kChunkKeys][kStepsOfBlock]
  float* turned = nullptr;            // by pairs: dS of one block, [kChunkKeys / 2][kBlock] pairs of keys
  float* key_words = nullptr;         // the same of the chunk's keys, [kChunkKeys / 2][d_k]; by matrices as lay_out_for_amx has them
  float* value_products = nullptr;    // by matrices: dP − D, [kAmxKeys][kBlock]
  float* value_tail = nullptr;        // [kAmxKeys][d_v]: the last values
  float* sum_tail = nullptr;          // [kSide][padded width]: gradients of the last keys; also what lay_out_for_amx needs
  float* spare = nullptr;             // a row that nobody reads
  float* before = nullptr;            // [term][kRows·kBlock]: scores that soft-caps were given
  float* d_bias = nullptr;            // [term][kChunkKeys][kBlock]
  float* d_slopes = nullptr;          // [term][kBlock]
  float* rule = nullptr;              // a group of one rule, run backwards
  float* offset_values = nullptr;     // [kChunkKeys][kBlock]: dO·C[δ]
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
