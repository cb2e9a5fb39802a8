// Room: spec.
// What can be asked of a record, and what comes back: ranges, statistics, reductions. Plain data; map.h asks, backends answer.
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

/// Which weights a look shows.
///   kExact   of the stored Q and K (the rounded ones where those are bf16 or f16), in f32
///   kAsUsed  what the call multiplied values by: where its kernel kept P in bf16 (RowStats::used), bf16(2^(s·log₂e − m)) / Σ_j bf16(…); kExact elsewhere
enum class LookPrecision : uint8_t { kExact, kAsUsed };

/// For looks that may take long.
struct LookOptions {
  const std::atomic<bool>* cancel = nullptr;                ///< set to true to stop with kCancelled
  std::function<void(double fraction)> progress = nullptr;  ///< called from the calling thread, now and then
  int64_t sampled_rows = 0;                                 ///< > 0: only so many rows, evenly spaced; the result says so (`exact` = false)
};

enum class Statistic : uint8_t {
  kEntropy,  ///< −Σ_j P ln P in nats, per query; the share of a sink logit counts as one more outcome, and linear weights outside [0, 1] do not count
  kReceived,  ///< Σ_i P_ij, per key
  kDistance,  ///< Σ_j P_ij·|p_i − j|, per query
  kOffsets,   ///< Σ_i P_{i, p_i+o}, per relative position o in [−offset_reach, offset_reach]; further ones are added to the ends
};
inline constexpr Statistic entropy = Statistic::kEntropy;
inline constexpr Statistic received = Statistic::kReceived;
inline constexpr Statistic distance = Statistic::kDistance;
inline constexpr Statistic offsets = Statistic::kOffsets;

/// Σ_j P_ij over keys j ≠ p_i whose tag equals the query's: duplicate tokens, induction (tag of key j = token j − 1), delimiters.
/// Negative tags match nothing.
struct Match {
  std::vector<int32_t> query_tags{};  ///< [query_length]
  std::vector<int32_t> key_tags{};    ///< [key]
};

struct ReductionRequest {
  std::vector<Statistic> statistics{};
  std::vector<Match> matches{};
  int64_t offset_reach = 64;
  /// With both > 0, also the whole map (all kept rows × all keys) pooled to this many rows and columns, max and mean. Cells cut the kept rows,
  /// not the sampled ones: row t of the record falls into the cell r with ⌊rn/R⌋ ≤ t < ⌊(r+1)n/R⌋, n = rows kept.
  std::array<int64_t, 2> cells{0, 0};
  /// > 0: also the keys that each row scored highest, so many. Meant for a few, up to 16: the cost of a key that comes among them grows with their number.
  int64_t top_k = 0;
  Range heads{0, -1};  ///< −1: all
  ReductionRequest() = default;
  ReductionRequest(std::initializer_list<Statistic> wanted) : statistics(wanted) {}
};

/// Undefined tensors are what was not asked for. Heads are those of the request.
struct ReductionResult {
  Tensor entropy{};     ///< f32 [batch, head, row]
  Tensor distance{};    ///< f32 [batch, head, row]
  Tensor received{};    ///< f32 [batch, head, key]
  Tensor offsets{};     ///< f32 [batch, head, 2·offset_reach + 1]
  Tensor matches{};     ///< f32 [match, batch, head, row]
  Tensor pooled_max{};  ///< f32 [batch, head, rows, columns]; NaN where nothing is visible
  Tensor pooled_mean{};
  /// i32 [batch, head, row, top_k]: by score, ties: the earlier key; −1 past the keys that a row sees (scores of NaN are in no order).
  Tensor top_keys{};
  Tensor top_weights{};  ///< f32, the same shape; 0 where there is no key
  bool exact = true;     ///< false: from sampled rows. Per-key and per-offset sums are then scaled by rows / sampled rows
  int64_t rows_looked_at = 0;
  std::vector<int64_t> queries{};  ///< which query each row of the result is, ascending; filled by AttentionMap
};

}  // namespace clearhead
