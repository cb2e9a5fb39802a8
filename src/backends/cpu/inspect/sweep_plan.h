// The plan of a sweep: the sums of each strip, and the order in which they are added. No vector code.
//
// The selected rows of a head are divided into strips, by their number alone. A strip is one work item. It has its own
// sums over keys, offsets and cells, to which its blocks add in a fixed order. The last strip of a head to finish adds
// the sums of all strips, in strip order. So bits do not depend on threads, batch or heads.
//
//   offsets  a window over p − j ∈ [−reach − kMargin, reach + kMargin], and two sums for more distant offsets; in the
//            result, the margins are added to its ends (p: position of the query, j: key)
//   cells    max, sum and count of visible (query, key) pairs, for the cell rows that contain rows of the strip. They are
//            written when the strip ends, except for cell rows that other strips contribute to.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/score/score_view.h"

namespace clearhead::cpu {

// Below every weight, including the negative ones of linear attention.
inline constexpr float kNoWeight = -3e38F;

// Sums of cell rows [first_row, first_row + rows): [cell row − first_row, cell column].
struct CellSums {
  float* max = nullptr;  // kNoWeight if no weight was added
  double *sum = nullptr, *count = nullptr;
  int64_t first_row = 0, rows = 0;
};

// One strip's sums of a cell row that several strips contribute to.
struct SharedCellRow {
  int64_t row = 0;
  std::vector<float> max;
  std::vector<double> sum, count;
};

// Writes the max and mean of one cell row; NaN for cells to which nothing was added.
using WriteCells = void (*)(const float* max, const double* sum, const double* count, int64_t columns, float* max_out, float* mean_out);

struct StripSums {
  std::vector<float> received;  // [key, plus room for a group past the end]
  std::vector<float> window;    // [p − j + reach + kMargin]
  // Total weight on keys farther back than the reach (p − j > reach), and on keys farther ahead.
  double far_before = 0;
  double far_after = 0;
  CellSums cells;                     // in the thread's scratch memory, until the strip ends
  std::vector<SharedCellRow> shared;  // of the strip's first and last cell row
};

class SweepPlan {
 public:
  // Width of each margin of the window. A group that is partly within the reach extends beyond it by less than this: at most by the
  // number of a block's lanes plus a group's keys.
  static constexpr int64_t kMargin = 128;
  static constexpr int64_t kKeyRoom = 16;   // padding of per-key arrays, for a group that extends beyond the selected keys
  static constexpr int64_t kCellRoom = 16;  // padding past the last cell; a store may cover it, but adds nothing to it

  SweepPlan(const SweepCall& call, const ReductionChoice& choice, int64_t block_rows, WriteCells write_row);

  const SweepCall& call;
  const ReductionChoice& choice;
  ScoreProblem problem;
  bool entropy = false, distance = false, received = false, offsets = false, pooled = false;
  bool weighs = false;  // whether a statistic needs weights; top keys need only scores
  int64_t matches = 0, top = 0;
  int64_t looked = 0, keys = 0, kept = 0, reach = 0, block_rows = 0;
  Range looked_keys{};  // all keys, or those of the grid
  int64_t maps = 0;     // requested sequences · requested heads
  int64_t strips = 0;
  // [match][query] and [match][key, plus kKeyRoom]; negative tags never match.
  std::vector<std::vector<int32_t>> query_tags, key_tags;

  int64_t batch_of(int64_t map) const { return batches_.begin + map / heads_.size(); }
  int64_t head_of(int64_t map) const { return heads_.begin + map % heads_.size(); }
  /// Indices into call.rows. All strips except the last consist of whole blocks.
  Range strip_rows(int64_t strip) const;
  const int64_t* column_ends() const { return column_ends_.data(); }  // [cell column]
  /// The factors of keys from `key` on; null if all are 1. A group may read past the ends of the grid.
  const float* key_factors(int64_t key) const {
    return key_factors_.empty() ? nullptr : key_factors_.data() + kKeyRoom + key - looked_keys.begin;
  }
  float row_factor(int64_t row) const {
    return call.row_factors.empty() ? 1 : call.row_factors[static_cast<size_t>(row - call.grid.rows.begin)];
  }

  StripSums new_sums(int64_t strip) const;
  float* entropy_row(int64_t map) const { return entropies_ + map * looked; }
  float* distance_row(int64_t map) const { return distances_ + map * looked; }
  float* match_row(int64_t match, int64_t map) const { return matched_ + (match * maps + map) * looked; }
  int32_t* top_keys_of(int64_t map, int64_t index) const { return top_keys_ + (map * looked + index) * call.request.top_k; }
  float* top_weights_of(int64_t map, int64_t index) const { return top_weights_ + (map * looked + index) * call.request.top_k; }
  /// Takes a strip's sums. The last strip of a map to finish writes the map's part of the result.
  void finish_strip(int64_t map, int64_t strip, StripSums sums);

  /// Throws kCancelled if *call.cancel is set.
  void check_cancelled() const;
  void report(int64_t rows_done, int thread);
  ReductionResult take_result();

 private:
  void allocate();
  void add_tags();
  void write_map(int64_t map, std::vector<StripSums>& strips);
  void write_offsets(int64_t map, const std::vector<StripSums>& strips, double scale);
  Range cell_rows_of(int64_t strip) const;
  CellSums new_cells(int64_t strip) const;
  void write_cells(int64_t map, int64_t strip, StripSums& sums);
  void write_shared_cells(int64_t map, std::vector<StripSums>& strips);
  void write_cell_row(int64_t map, int64_t row, const float* max, const double* sum, const double* count);
  void leave_cell_rows(int64_t map, Range of);

  WriteCells write_row_;
  Range batches_, heads_;
  int64_t blocks_per_strip_ = 1;
  std::vector<int64_t> column_ends_;
  std::vector<float> key_factors_;  // [kKeyRoom, key of looked_keys, kKeyRoom]
  ReductionResult result_;
  float *entropies_ = nullptr, *distances_ = nullptr, *received_ = nullptr, *offsets_ = nullptr, *matched_ = nullptr, *max_ = nullptr,
        *mean_ = nullptr, *top_weights_ = nullptr;
  int32_t* top_keys_ = nullptr;
  std::vector<std::vector<StripSums>> sums_;             // [map][strip]
  std::unique_ptr<std::atomic<int64_t>[]> open_strips_;  // [map]
  std::atomic<int64_t> rows_done_{0};
};

}  // namespace clearhead::cpu
