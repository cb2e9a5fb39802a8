// What a sweep collects and in which order it is added up; nothing here is vectorised.
//
// The looked-at rows of a head are cut into strips, by their number alone. A strip is one item of work: it keeps sums of its own over keys, offsets and
// cells, to which its blocks add in fixed turns; the last strip of a head to finish adds them in the order of the strips. So bits depend on neither threads,
// batch nor heads.
//
//   offsets  a window over p − j ∈ [−reach − kMargin, reach + kMargin], and two sums for what is further; margins are folded into the ends
//   cells    max, sum and count of visible pairs, for the cell rows that the strip touches; written when it ends, but for rows that other strips touch too
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "backends/contract.h"
#include "backends/cpu/score/score_view.h"

namespace clearhead::cpu {

// Below every weight, linear ones included.
inline constexpr float kNoWeight = -3e38F;

// Of cell rows first_row … first_row + rows, [cell row − first_row, cell column].
struct CellSums {
  float* max = nullptr;  // kNoWeight has seen nothing
  double *sum = nullptr, *count = nullptr;
  int64_t first_row = 0, rows = 0;
};

// The sums of a cell row that strips share.
struct SharedCellRow {
  int64_t row = 0;
  std::vector<float> max;
  std::vector<double> sum, count;
};

// One row: max, mean; NaN of a cell that nothing was added to.
using WriteCells = void (*)(const float* max, const double* sum, const double* count, int64_t columns, float* max_out, float* mean_out);

struct StripSums {
  std::vector<float> received;  // [key, and room for a group beyond]
  std::vector<float> window;    // [p − j + reach + kMargin]
  double far_before = 0;        // keys before every offset of the window's groups: p − j > reach
  double far_after = 0;
  CellSums cells;                     // in the memory of the strip's thread, until the strip ends
  std::vector<SharedCellRow> shared;  // of the strip's first cell row, of its last one
};

class SweepPlan {
 public:
  static constexpr int64_t kMargin = 128;   // a group that touches the reach spills at most a block's lanes and keys beyond it
  static constexpr int64_t kKeyRoom = 16;   // keys of a group that may lie past those looked at
  static constexpr int64_t kCellRoom = 16;  // cells that may be added nothing to past the last one

  SweepPlan(const SweepCall& call, const ReductionChoice& choice, int64_t block_rows, WriteCells write_row);

  const SweepCall& call;
  const ReductionChoice& choice;
  ScoreProblem problem;
  bool entropy = false, distance = false, received = false, offsets = false, pooled = false;
  bool weighs = false;  // some statistic is of weights: top keys alone are of scores
  int64_t matches = 0, top = 0;
  int64_t looked = 0, keys = 0, kept = 0, reach = 0, block_rows = 0;
  Range looked_keys{};  // all, or those of the grid
  int64_t maps = 0;     // sequences · heads that are asked for
  int64_t strips = 0;
  std::vector<std::vector<int32_t>> query_tags, key_tags;  // [match][query], [match][key + room]; negative ones never match

  int64_t batch_of(int64_t map) const { return batches_.begin + map / heads_.size(); }
  int64_t head_of(int64_t map) const { return heads_.begin + map % heads_.size(); }
  /// Indices into call.rows: whole blocks, but for the last strip.
  Range strip_rows(int64_t strip) const;
  const int64_t* column_ends() const { return column_ends_.data(); }  // [cell column]
  /// Of keys beginning with `key`; nullptr: all ones. A group may read past the grid's ends.
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
  /// Hands in a strip's sums; the map's last one writes its share of the result.
  void finish_strip(int64_t map, int64_t strip, StripSums sums);

  /// Throws kCancelled when the token is set.
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
