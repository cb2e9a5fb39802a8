// Running sums over keys, for linear attention in which every query sees a prefix of the keys. With them, only pairs in a
// row's own chunk need to be visited one by one. Included once per target.
//
//   Keys are divided into chunks of C; the last one may be shorter. Row i sees keys [0, e_i), where e_i does not decrease
//   with i. The row's own chunk is ⌊e_i/C⌋, or one past the last chunk if the row sees all keys.
//     S_c = Σ_{j < cC} k_j·v_jᵀ          Σ_j s_ij v_j = q_i·S_c + (the same sum over pairs of the row's own chunk)
//     z_c = Σ_{j < cC} k_j               Σ_j s_ij     = q_i·z_c + (the same sum over pairs of the row's own chunk)
//
// The running sum over pieces (chunks) is stored at every kSpan-th piece, so any other is at most kSpan − 1 pieces away.
// A piece is summed separately before it is added, so a sum over N keys consists of chains of C, kSpan and N/(C·kSpan)
// additions. The bounds of pieces depend on lengths alone. Source: Katharopoulos et al. 2020, eq. 5, 8–12.
#if defined(CLEARHEAD_CPU_FORWARD_RUNNING_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_FORWARD_RUNNING_SUMS_INL_H_
#undef CLEARHEAD_CPU_FORWARD_RUNNING_SUMS_INL_H_
#else
#define CLEARHEAD_CPU_FORWARD_RUNNING_SUMS_INL_H_
#endif

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <vector>

#include "backends/cpu/forward/flash-inl.h"
#include "backends/cpu/score/lane_products-inl.h"
#include "backends/cpu/score/page-inl.h"
#include "base/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

inline constexpr int64_t kSpan = 42;  // pieces between two stored sums: 2,016 keys at C = 48

// A block of rows with the same own chunk.
struct PrefixBlock {
  int64_t chunk = 0, begin = 0;
  int count = 0;
};
struct PrefixLayout {
  int64_t keys = 0, chunks = 0;
  std::vector<PrefixBlock> blocks{};  // rows ascending
  // [chunk]: the first block with this own chunk; then the first block that sees all keys; then the number of blocks
  std::vector<int64_t> first_block{};

  PrefixLayout(const ScoreView& view, int64_t rows) : keys(view.key_length), chunks((view.key_length + kBlock - 1) / kBlock) {
    first_block.assign(static_cast<size_t>(chunks + 2), 0);
    for (int64_t row = 0; row < rows;) {
      const int64_t chunk = chunk_of(view, row);
      int64_t end = row + 1;
      while (end < rows && end - row < kBlock && chunk_of(view, end) == chunk) ++end;
      blocks.push_back({chunk, row, static_cast<int>(end - row)});
      ++first_block[static_cast<size_t>(chunk + 1)];
      row = end;
    }
    for (size_t c = 1; c < first_block.size(); ++c) first_block[c] += first_block[c - 1];
  }
  int64_t chunk_of(const ScoreView& view, int64_t row) const {
    const int64_t end = view.band_of(view.query_of(row)).end;
    return end >= keys ? chunks : std::max<int64_t>(0, end) / kBlock;
  }
  Range keys_of(int64_t chunk) const { return {chunk * kBlock, std::min(keys, (chunk + 1) * kBlock)}; }
};

inline hwy::AlignedFreeUniquePtr<float[]> aligned_floats(int64_t count) {
  return hwy::AllocateAligned<float>(static_cast<size_t>(std::max<int64_t>(count, 16)));
}

// to += lanes·rows. to: [a][round_up(b, 16)], lanes: [round_up(a, kRows)][kBlock], rows: [count][round_up(b, 16)].
// `sum` is scratch of the size of `to`; the number of rows of both is rounded up to a multiple of kRows.
inline HWY_NOINLINE void add_outer(const float* lanes, int64_t a, const float* rows, int64_t b, int count, float* sum, float* to) {
  const int64_t stride = round_up(b, 16), floats = round_up(a, kRows) * stride;
  std::fill(sum, sum + floats, 0.0F);
  for (int64_t c = 0; c < a; c += kRows) {
    const LanePart parts[kTwoBlocks] = {{lanes + c * kBlock, rows, 0, count}, {}};
    add_group_products(parts, b, sum + c * stride, stride);
  }
  for (int64_t i = 0; i < floats; ++i) to[i] += sum[i];
}
inline int64_t outer_floats(int64_t a, int64_t b) { return round_up(a, kRows) * round_up(b, 16); }

/// Running sums over pieces 0 … n − 1, separately for each map (a head or a key head of one sequence).
/// Pieces::add(map, piece, state) adds one piece to the state. Each thread has its own Pieces.
template <class Pieces>
class RunningSums {
 public:
  template <class Make>
  RunningSums(int64_t maps, int64_t pieces, int64_t floats, const Make& make)
      : pieces_(pieces),
        floats_(floats),
        spans_((pieces + kSpan - 1) / kSpan),
        kept_(static_cast<size_t>(maps * (spans_ + 1) * floats), 0) {
    parallel_for(maps * spans_, [&](int64_t item, int) {
      Pieces own = make();
      const int64_t map = item / spans_, span = item % spans_;
      for (int64_t piece = span * kSpan; piece < position(span + 1); ++piece) own.add(map, piece, state(map, span + 1));
    });
    parallel_for(maps, [&](int64_t map, int) {
      for (int64_t span = 1; span < spans_; ++span) {
        const float* before = state(map, span);
        float* at = state(map, span + 1);
        for (int64_t i = 0; i < floats_; ++i) at[i] += before[i];
      }
    });
  }

  /// Returns running sums of one map. Fastest if they are requested in ascending order.
  class Cursor {
   public:
    Cursor(RunningSums& sums, int64_t map, Pieces pieces)
        : sums_(sums), map_(map), own_(std::move(pieces)), state_(static_cast<size_t>(sums.floats_), 0) {}
    /// Returns the sum of pieces [0, count).
    const float* at(int64_t count) {
      const int64_t span = count == sums_.pieces_ ? sums_.spans_ : count / kSpan, kept = sums_.position(span);
      if (at_ > count || kept > at_) {
        std::copy_n(sums_.state(map_, span), sums_.floats_, state_.data());
        at_ = kept;
      }
      for (; at_ < count; ++at_) own_.add(map_, at_, state_.data());
      return state_.data();
    }

   private:
    RunningSums& sums_;
    int64_t map_, at_ = 0;
    Pieces own_;
    std::vector<float> state_;
  };

 private:
  int64_t position(int64_t span) const { return std::min(span * kSpan, pieces_); }
  float* state(int64_t map, int64_t span) { return kept_.data() + (map * (spans_ + 1) + span) * floats_; }

  int64_t pieces_, floats_, spans_;
  std::vector<float> kept_;  // [map][span]: the sum of all pieces before it
};

// The keys and values of one chunk as rows. Rows past the last key repeat it.
struct ChunkRows {
  int count = 0;
  const float *keys[kBlock], *values[kBlock];

  // `room` [kBlock][d_k + d_v] holds copies of keys and values that lie in pages.
  ChunkRows(const ScoreView& view, const ValueView& of, Range range, float* room) : count(static_cast<int>(range.size())) {
    float* value_room = view.pages ? room + kBlock * view.d_k : nullptr;
    for (int i = 0; i < kBlock; ++i) {
      const int64_t key = range.begin + std::min(i, count - 1);
      keys[i] = view.pages ? room + i * view.d_k : view.keys + key * view.key_stride;
      values[i] = view.pages ? value_room + i * of.d_v : of.values + key * of.stride;
      if (view.pages)
        with_element(view.page_dtype,
                     [&](auto element) { copy<decltype(element)>(view, of, key, room + i * view.d_k, value_room + i * of.d_v); });
    }
  }
  // Channels of a key in a page are KVPage::kPanel apart.
  template <class T>
  static void copy(const ScoreView& view, const ValueView& of, int64_t key, float* to_key, float* to_value) {
    const int64_t in_page = key % kKeyTile, in_panel = in_page % KVPage::kPanel;
    const T* from = view.panels<T>(key / kKeyTile) + (in_page - in_panel) * view.d_k + in_panel;
    for (int64_t c = 0; c < view.d_k; ++c) to_key[c] = widened(from[c * KVPage::kPanel]);
    widen(of.in_page<T>(key), of.d_v, to_value);
  }
  static void to_rows(const float* const* from, int count, int64_t width, float* to) {
    const int64_t stride = round_up(width, 16);
    for (int i = 0; i < count; ++i) {
      std::copy_n(from[i], width, to + i * stride);
      std::fill(to + i * stride + width, to + (i + 1) * stride, 0.0F);
    }
  }
};

// to[c] += Σ_i rows[i][c].
inline void add_rows(const float* const* rows, int count, int64_t width, float* to) {
  for (int64_t c = 0; c < width; ++c) {
    float sum = 0;
    for (int i = 0; i < count; ++i) sum += rows[i][c];
    to[c] += sum;
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
