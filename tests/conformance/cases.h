// Descriptions, shapes and layouts that every backend must support: a seeded pairwise covering of
// factors, and plain calls with one factor changed.
//
// Every pair of values of two factors occurs in at least one case, and every value also occurs in otherwise plain calls. A failing case is
// identified by its values, e.g. "alibi+soft_cap | causal end | no segments | … | 49x49 | pages".
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "clearhead/attend.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead::conformance {

struct Case {
  std::string name{};
  AttentionShape shape{};
  AttentionSpec spec{};
  Tensor q{}, k{}, v{};  // v is undefined if the keys are pages
  Keys keys{};
};

/// The same cases in every run.
const std::vector<Case>& cases();

/// Returns whether the backend's forward may round weights to bf16 before multiplying them with values.
bool keeps_weights_in_bf16(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys);
inline bool keeps_weights_in_bf16(const Backend& backend, const Case& c) { return keeps_weights_in_bf16(backend, c.spec, c.q, c.keys); }
/// Returns whether the backend's gradients round weights, and the gradients of scores, to bf16.
bool keeps_gradients_in_bf16(const Backend& backend, const Case& c);

using Random = std::mt19937;
/// f32, normal with this standard deviation, contiguous.
Tensor normal(Random& random, Shape shape, float deviation = 1);

/// The result of one call of one backend.
struct Result {
  Tensor out{};
  AttentionRecord record{};
  Tensor entropy{}, distance{};  // defined if the call asks for them
};
Result run(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, bool asks = false);
inline Result run(const Backend& backend, const Case& c, bool asks = false) { return run(backend, c.spec, c.q, c.keys, c.v, asks); }

/// Gradients of all operands, or only of those for which `wants` returns true. The buffers are filled with NaN first. The keys must be a
/// tensor.
AttendGradients run_backward(const Backend& backend, const Result& forward, const Tensor& v, const GivenGradients& given,
                             const std::function<bool(const std::string& name)>& wants = nullptr);

std::vector<float> look(const Backend& backend, const AttentionRecord& record, int64_t batch, int64_t head,
                        const std::vector<int64_t>& rows, Range keys, WeightsCall::Quantity quantity = WeightsCall::Quantity::kWeight,
                        bool after = false, LookPrecision precision = LookPrecision::kExact);

/// The description as seen by sequence `batch`, query heads `heads` and queries `queries` of the call, restricted to keys [0, keys).
AttentionSpec restricted(const AttentionSpec& spec, int64_t batch, Range heads, Range queries, int64_t keys);

bool same_bits(const Tensor& a, const Tensor& b);
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

/// A copy in which every channel of one position is set to `value`, in every head of one sequence.
Tensor with(const Tensor& tensor, int64_t position, float value);
/// Row `row` of one head of one sequence, contiguous.
std::vector<float> row_of(const Tensor& tensor, int64_t head, int64_t row);

/// Pages filled from tensors, in several appends of different lengths.
PagedKV paged(const Tensor& k, const Tensor& v, DType dtype = DType::kF32);

/// Name of a backend in test names and messages: "ref", "cpu_avx512".
std::string table_name(const Backend& backend);

}  // namespace clearhead::conformance
