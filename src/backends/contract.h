// What a backend is: one table of functions. A process uses one whole table (registry.h); tests hold several against each other.
//
// Calls arrive validated (spec.h's validate) and with outputs allocated. A function may use parallel_for and must give the same bits for any
// number of threads, batch size and number of heads. Inside kernels "none yet" is −1e30; stored rows that saw nothing have m = −∞, ℓ = 0.
//
// To add a backend: a folder beside ref/ and cpu/, a function returning its table, a line in registry.cc; the conformance tests take it from there.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/dense.h"
#include "clearhead/look.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead {

/// Fused attention: writes out and the row statistics.
struct ForwardCall {
  const AttentionSpec& spec;
  const Tensor& q;   // f32 [batch, head, query, d_k], any strides
  const Keys& keys;  // f32 [batch, key_head, key, d_k], any strides; or pages
  const Tensor& v;   // f32 [batch, key_head, key, d_v], any strides; undefined when keys are pages (they hold the values)
  Tensor& out;       // f32 [batch, head, query, d_v], any strides: a layer may ask for [batch, query, head, d_v] in memory
  RowStats& rows;    // f32 [batch, head, query], contiguous
};

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
  float* out = nullptr;    // [row_count, keys.size()]
  int64_t out_stride = 0;  // elements between rows of out
};

/// All statistics of a sweep in one pass over every row (or every row of `rows`), never holding more than tiles.
/// Results are exact sums in a fixed order. Hidden pairs count nowhere. SweepResult's tensors are allocated by the backend.
struct SweepCall {
  const AttentionRecord& record;
  const SweepRequest& request;
  const std::vector<int64_t>& rows;  // row indices looked at, ascending; all rows when exact
  const std::atomic<bool>* cancel = nullptr;
  std::function<void(double)> progress = nullptr;
};

struct Backend {
  const char* name = "";  // "ref", "cpu"
  InstructionSet isa = InstructionSet::kReference;
  /// Empty when the description can be run; otherwise what is missing, for a kUnsupported message.
  std::optional<std::string> (*refusal)(const AttentionSpec& spec, const AttentionShape& shape) = nullptr;
  void (*forward)(const ForwardCall& call) = nullptr;
  void (*weights)(const WeightsCall& call) = nullptr;
  SweepResult (*sweep)(const SweepCall& call) = nullptr;
  DenseOps dense{};
};

}  // namespace clearhead
