// Implemented in src/spec.
// Looks as plain data. A look is a request for weights or statistics of a record, with its result; map.h makes looks
// and backends answer them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead {

struct Range {
  int64_t begin = 0, end = 0;  ///< [begin, end)
  int64_t size() const { return end - begin; }
};

/// The precision of the weights that a look shows.
///   kExact   f32 weights from the stored Q and K (if those are bf16 or f16: from the rounded numbers)
///   kAsUsed  the weights by which the call multiplied the values. If its kernel rounded P to bf16 (RowStats::used):
///            bf16(2^(s·log₂e − m)) / Σ_j bf16(…). Otherwise the same as kExact.
enum class LookPrecision : uint8_t { kExact, kAsUsed };

/// Options for looks that may take a long time.
struct LookOptions {
  const std::atomic<bool>* cancel = nullptr;                ///< set to true to stop the look with kCancelled
  std::function<void(double fraction)> progress = nullptr;  ///< called from time to time on the calling thread
  int64_t sampled_rows = 0;  ///< > 0: read only this many evenly spaced rows; the result then has exact = false
};

enum class Statistic : uint8_t {
  /// −Σ_j P ln P in nats, per query. The weight of a sink logit counts as one more outcome; weights of linear attention
  /// outside [0, 1] do not count.
  kEntropy,
  kReceived,  ///< Σ_i P_ij, per key
  kDistance,  ///< Σ_j P_ij·|p_i − j|, per query
  /// Σ_i P_{i, p_i+o}, per relative position o in [−offset_reach, offset_reach]; larger distances are
  /// added to the ends.
  kOffsets,
};
inline constexpr Statistic entropy = Statistic::kEntropy;
inline constexpr Statistic received = Statistic::kReceived;
inline constexpr Statistic distance = Statistic::kDistance;
inline constexpr Statistic offsets = Statistic::kOffsets;

/// Σ_j P_ij over keys j ≠ p_i whose tag equals the query's tag. Used for duplicate tokens, induction (the tag of key j
/// is token j − 1) and delimiters. Negative tags match nothing.
struct Match {
  std::vector<int32_t> query_tags{};  ///< [query_length]
  std::vector<int32_t> key_tags{};    ///< [key]
};

struct ReductionRequest {
  std::vector<Statistic> statistics{};
  std::vector<Match> matches{};
  int64_t offset_reach = 64;
  /// Both > 0: also pool the whole map (all kept rows × all keys) to this many rows and columns, by maximum and by
  /// mean. Cells divide the kept rows, not the sampled ones: row t of the record belongs to row r of the R rows of cells
  /// if ⌊rn/R⌋ ≤ t < ⌊(r+1)n/R⌋, where n is the number of rows kept.
  std::array<int64_t, 2> cells{0, 0};
  /// > 0: also return the top_k keys of each row by score. Meant for values up to about 16; the cost of inserting a key
  /// grows with top_k.
  int64_t top_k = 0;
  Range heads{0, -1};  ///< [0, −1): all heads
  ReductionRequest() = default;
  ReductionRequest(std::initializer_list<Statistic> wanted) : statistics(wanted) {}
};

/// Results of a reduction. Tensors that were not requested are undefined. The heads are those of the request.
struct ReductionResult {
  Tensor entropy{};     ///< f32 [batch, head, row]
  Tensor distance{};    ///< f32 [batch, head, row]
  Tensor received{};    ///< f32 [batch, head, key]
  Tensor offsets{};     ///< f32 [batch, head, 2·offset_reach + 1]
  Tensor matches{};     ///< f32 [match, batch, head, row]
  Tensor pooled_max{};  ///< f32 [batch, head, rows, columns]; NaN if no pair of the cell is visible
  Tensor pooled_mean{};
  /// i32 [batch, head, row, top_k], by descending score; ties go to the earlier key. A row that sees fewer keys is
  /// filled up with −1. The order of NaN scores is undefined.
  Tensor top_keys{};
  Tensor top_weights{};  ///< f32 [batch, head, row, top_k]; 0 where there is no key
  /// False if rows were sampled. Sums per key and per offset are then scaled by rows / sampled rows.
  bool exact = true;
  int64_t rows_looked_at = 0;
  std::vector<int64_t> queries{};  ///< query of each row of the result, ascending; filled in by AttentionMap
};

}  // namespace clearhead
