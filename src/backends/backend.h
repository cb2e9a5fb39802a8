// A backend is one table of functions. A process uses one complete table (registry.h); tests compare several tables.
//
// Every call has been validated (spec.h's validate) and its outputs are allocated. A function may use parallel_for. It
// must give the same bits for any number of threads, batch size and number of heads. q, k, v, out and their gradients
// are f32, bf16 or f16, with one dtype per call; the pages of a KV cache may have another of these dtypes. Scores and sums
// are f32. widen.h converts 16-bit operands for kernels that compute in f32 only. Inside kernels, a row that has seen no
// key has the maximum −2e30 (kLowestScore); in the stored row statistics it has m = −∞ and ℓ = 0.
//
// To add a backend, add a folder beside ref/ and cpu/, a function that returns its table, and a line in registry.cc.
// The conformance tests then include it.
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
  const Tensor& v;   // [batch, key_head, key, d_v], any strides; undefined for a paged cache, which holds the values
  Tensor& out;       // [batch, head, query, d_v], any strides; in memory it may be [batch, query, head, d_v]
  RowStats& rows;    // f32 [batch, head, query], contiguous; a kernel that rounds P to bf16 allocates `used`
  // Statistic::kEntropy and kDistance of each row: f32 [batch, head, query], contiguous. Null if not requested.
  Tensor* entropy = nullptr;
  Tensor* distance = nullptr;
};

/// The gradients of one forward call. d_out is the gradient of the loss with respect to out. For softmax,
///   dS_ij = P_ij (dP_ij − D_i)   with D_i = dO_i·O_i.
/// A gradient g_i of the row's log-sum-exp L_i replaces D_i by D_i − g_i, because ∂L_i/∂s_ij = P_ij.
struct BackwardCall {
  const AttentionRecord& record;  // of the forward call, with all its rows; its keys are a tensor, not pages
  const Tensor& v;                // [batch, key_head, key, d_v], any strides
  const Tensor& out;              // [batch, head, query, d_v], any strides: the result of the forward call
  const Tensor& d_out;            // shape of out, any strides
  // f32 [batch, head, query], any strides; undefined means zeros. Always undefined unless the normaliser is softmax.
  const Tensor& d_log_sum_exp;
  // Contiguous, with the shapes of q, k and v. The backend must write every element.
  Tensor &d_q, &d_k, &d_v;
  // One entry per operand, in the order of for_each_operand: f32, contiguous, with the operand's shape. The backend must
  // write every element. Undefined if the gradient is not wanted or the operand is not f32.
  std::vector<Tensor>& d_operands;
};

/// The gradient tensor of `operand`, an operand of the call's description. Null if that gradient is not wanted or
/// `operand` does not belong to this call.
inline Tensor* gradient_of(const BackwardCall& call, const Tensor& operand) {
  size_t at = 0;
  Tensor* found = nullptr;
  for_each_operand(call.record.spec, [&](const std::string&, const Tensor& candidate) {
    if (&candidate == &operand && call.d_operands[at].defined()) found = &call.d_operands[at];
    ++at;
  });
  return found;
}

/// Weights or scores of some rows of one head over a range of keys. Scores are computed by the same chain of operations
/// as in the forward call, so they have the same bits.
struct WeightsCall {
  // kScore2: the score in base 2 (natural·log₂e) after all terms, −∞ if hidden. kWeight: the weight, 0 if hidden.
  // kWeightOrNaN: the same bits as kWeight, but NaN if hidden.
  enum class Quantity : uint8_t { kScore2, kWeight, kWeightOrNaN };
  const AttentionRecord& record;
  int64_t batch = 0, head = 0;
  const int64_t* rows = nullptr;  // [row_count] row indices into record.q, ascending
  int64_t row_count = 0;
  Range keys{};
  Quantity quantity = Quantity::kWeight;
  bool after = false;  // multiply by the description's `after`
  LookPrecision precision = LookPrecision::kExact;
  float* out = nullptr;    // [row_count, keys.size()]
  int64_t out_stride = 0;  // elements between rows of out
};

/// A grid of cells over a rectangle of an attention map, for pooling. With no cells, nothing is pooled.
struct CellGrid {
  Range rows{}, keys{};                // the rectangle: rows of the record × keys
  std::array<int64_t, 2> cells{0, 0};  // [rows, keys]: number of cells along each axis
  // > 0: cells are side × side pairs, counted from the rectangle's first pair.
  // 0: along an axis of n items with R cells, cell r covers items [⌊rn/R⌋, ⌊(r+1)n/R⌋).
  int64_t side = 0;

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

/// A grid over all rows and keys of a record.
inline CellGrid grid_over(const AttentionRecord& record, std::array<int64_t, 2> cells) {
  return {.rows = {0, record.rows_kept()}, .keys = {0, key_length(record.keys)}, .cells = cells};
}

/// Computes all requested statistics in one pass over the rows in `rows`. Memory is O(one tile); the map is not stored.
/// Sums run over the visible (query, key) pairs of these rows, in a fixed order. The backend allocates the tensors of
/// ReductionResult.
struct SweepCall {
  const AttentionRecord& record;
  const ReductionRequest& request;   // `grid` replaces its `cells`
  const std::vector<int64_t>& rows;  // row indices to visit, ascending; all rows for an exact result
  // A grid over a subset of the keys, and factors on weights, are allowed only in a call that requests cells alone. One
  // exception: a call that requests kReceived alone may have row_factors f, of any sign; kReceived is then Σ_i f_i P_ij.
  // An empty span of factors means ones; a NaN in key_factors skips the key.
  CellGrid grid{};
  std::span<const float> row_factors{}, key_factors{};  // [grid.rows.size()], [grid.keys.size()]
  Range batches{0, -1};                                 // −1: all
  bool after = false;                                   // multiply by the description's `after`
  LookPrecision precision = LookPrecision::kExact;
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(double)> progress = nullptr;
};

struct Backend {
  const char* name = "";  // "ref", "cpu"
  InstructionSet isa = InstructionSet::kReference;
  /// Empty if the backend can run the description. Otherwise the missing feature, for the kUnsupported message.
  std::optional<std::string> (*refusal)(const AttentionSpec& spec, const AttentionShape& shape) = nullptr;
  void (*forward)(const ForwardCall& call) = nullptr;
  void (*backward)(const BackwardCall& call) = nullptr;
  void (*weights)(const WeightsCall& call) = nullptr;
  ReductionResult (*sweep)(const SweepCall& call) = nullptr;
  DenseOps dense{};
  DenseGradients gradients{};
};

}  // namespace clearhead
