// What a backend is: one table of functions. A process uses one whole table (registry.h); tests hold several against each other.
//
// Calls arrive validated (spec.h's validate) and with outputs allocated. A function may use parallel_for and must give the same bits for any
// number of threads, batch size and number of heads. q, k, v, out and what is of their shape are f32, bf16 or f16, all of one call alike; scores and sums
// are f32. widen.h lets a kernel see f32 alone. Inside kernels "none yet" is −1e30; stored rows that saw nothing have m = −∞, ℓ = 0.
//
// To add a backend: a folder beside ref/ and cpu/, a function returning its table, a line in registry.cc; the conformance tests take it from there.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/dense.h"
#include "backends/dense_gradients.h"
#include "clearhead/look.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead {

/// Fused attention: writes out and the row statistics.
struct ForwardCall {
  const AttentionSpec& spec;
  const Tensor& q;   // [batch, head, query, d_k], any strides
  const Keys& keys;  // [batch, key_head, key, d_k], any strides; or pages
  const Tensor& v;   // [batch, key_head, key, d_v], any strides; undefined when keys are pages (they hold the values)
  Tensor& out;       // [batch, head, query, d_v], any strides: a layer may ask for [batch, query, head, d_v] in memory
  RowStats& rows;    // f32 [batch, head, query], contiguous; `used` is made by the table whose kernel keeps P in bf16
  // As Statistic::kEntropy and kDistance, f32 [batch, head, query], contiguous; null: not asked for.
  Tensor* entropy = nullptr;
  Tensor* distance = nullptr;
};

/// The gradients of one forward call: for a loss of which d_out is the gradient with respect to out.
struct BackwardCall {
  const AttentionRecord& record;  // of the forward, with all of its rows; the keys are a tensor
  const Tensor& v;                // [batch, key_head, key, d_v], any strides
  const Tensor& out;              // [batch, head, query, d_v], any strides: what the forward wrote
  const Tensor& d_out;            // shape of out, any strides
  // Contiguous, in the shapes of q, k and v; written whole.
  Tensor &d_q, &d_k, &d_v;
  // In for_each_operand's order, f32, contiguous, in the operand's shape; written whole. Undefined: not wanted, or no f32 operand.
  std::vector<Tensor>& d_operands;
};

/// Where the gradient of this operand of the description goes; null: it is not wanted, or no operand of this call.
inline Tensor* gradient_of(const BackwardCall& call, const Tensor& operand) {
  size_t at = 0;
  Tensor* found = nullptr;
  for_each_operand(call.record.spec, [&](const std::string&, const Tensor& candidate) {
    if (&candidate == &operand && call.d_operands[at].defined()) found = &call.d_operands[at];
    ++at;
  });
  return found;
}

/// Weights or scores of some rows of one head against a range of keys, by the same chain of operations as the forward: same bits of s.
struct WeightsCall {
  // kScore2: base 2 (natural·log₂e) after all terms, −∞ where hidden. kWeight: 0 where hidden. kWeightOrNaN: the same bits, NaN where hidden.
  enum class Quantity : uint8_t { kScore2, kWeight, kWeightOrNaN };
  const AttentionRecord& record;
  int64_t batch = 0, head = 0;
  const int64_t* rows = nullptr;  // row indices into record.q, ascending, `row_count` of them
  int64_t row_count = 0;
  Range keys{};
  Quantity quantity = Quantity::kWeight;
  bool after = false;  // weights as values meet them: times the description's `after`
  LookPrecision precision = LookPrecision::kExact;
  float* out = nullptr;    // [row_count, keys.size()]
  int64_t out_stride = 0;  // elements between rows of out
};

/// Cells laid over a rectangle of a map. No cells: nothing is pooled.
struct CellGrid {
  Range rows{}, keys{};  // rows of the record, keys
  std::array<int64_t, 2> cells{0, 0};
  int64_t side = 0;  // > 0: cells of side × side from the rectangle's first pair; else cell r of R over n items covers [⌊rn/R⌋, ⌊(r+1)n/R⌋)

  bool empty() const { return cells[0] <= 0 || cells[1] <= 0; }
  int64_t row_begin(int64_t cell) const { return begin_of(rows, cells[0], cell); }
  int64_t key_begin(int64_t cell) const { return begin_of(keys, cells[1], cell); }
  int64_t row_of(int64_t row) const { return cell_of(rows, cells[0], row); }
  int64_t column_of(int64_t key) const { return cell_of(keys, cells[1], key); }

 private:
  int64_t begin_of(Range range, int64_t count, int64_t cell) const {
    return side > 0 ? std::min(range.begin + cell * side, range.end) : range.begin + cell * range.size() / count;
  }
  int64_t cell_of(Range range, int64_t count, int64_t item) const {
    const int64_t at = item - range.begin;
    return side > 0 ? at / side : ((at + 1) * count + range.size() - 1) / range.size() - 1;
  }
};

/// Cells over everything that a record keeps.
inline CellGrid grid_over(const AttentionRecord& record, std::array<int64_t, 2> cells) {
  return {.rows = {0, record.rows_kept()}, .keys = {0, key_length(record.keys)}, .cells = cells};
}

/// All statistics of a sweep in one pass over every row (or every row of `rows`), never holding more than tiles.
/// Results are exact sums in a fixed order. Hidden pairs count nowhere. ReductionResult's tensors are allocated by the backend.
struct SweepCall {
  const AttentionRecord& record;
  const ReductionRequest& request;   // its `cells` are in `grid`
  const std::vector<int64_t>& rows;  // row indices looked at, ascending; all rows when exact
  // Only a call that asks for nothing else may have cells over a part of the keys, or factors of the weights in them: an empty span is all ones,
  // a NaN of key_factors leaves the key out.
  CellGrid grid{};
  std::span<const float> row_factors{}, key_factors{};  // [grid.rows.size()], [grid.keys.size()]
  Range batches{0, -1};                                 // −1: all
  bool after = false;                                   // weights as values meet them: times the description's `after`
  LookPrecision precision = LookPrecision::kExact;
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(double)> progress = nullptr;
};

struct Backend {
  const char* name = "";  // "ref", "cpu"
  InstructionSet isa = InstructionSet::kReference;
  /// Empty when the description can be run; otherwise what is missing, for a kUnsupported message.
  std::optional<std::string> (*refusal)(const AttentionSpec& spec, const AttentionShape& shape) = nullptr;
  void (*forward)(const ForwardCall& call) = nullptr;
  void (*backward)(const BackwardCall& call) = nullptr;
  void (*weights)(const WeightsCall& call) = nullptr;
  ReductionResult (*sweep)(const SweepCall& call) = nullptr;
  DenseOps dense{};
  DenseGradients gradients{};
};

}  // namespace clearhead
