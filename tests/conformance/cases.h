// Descriptions, shapes and layouts that every backend must get right: a seeded pairwise covering of factors, and plain calls but for one of them.
//
// Every pair of values of two factors stands in at least one case, and every value in calls that are plain otherwise; a failing case is named by its values, e.g.
// "alibi+soft_cap | causal end | no segments | … | 49x49 | pages".
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backends/contract.h"
#include "clearhead/attend.h"
#include "clearhead/record.h"
#include "clearhead/spec.h"

namespace clearhead::conformance {

struct Case {
  std::string name{};
  AttentionShape shape{};
  AttentionSpec spec{};
  Tensor q{}, k{}, v{};  // v undefined when keys are pages
  Keys keys{};
};

/// Always the same.
const std::vector<Case>& cases();

/// Whether the table's forward may round weights to bf16 before they meet values.
bool keeps_weights_in_bf16(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys);
inline bool keeps_weights_in_bf16(const Backend& backend, const Case& c) { return keeps_weights_in_bf16(backend, c.spec, c.q, c.keys); }
/// Whether its gradients round weights, and the gradients of scores, so.
bool keeps_gradients_in_bf16(const Backend& backend, const Case& c);

using Random = std::mt19937;
/// f32, normal with this deviation, contiguous.
Tensor normal(Random& random, Shape shape, float deviation = 1);

/// One call of one table.
struct Result {
  Tensor out{};
  AttentionRecord record{};
  Tensor entropy{}, distance{};  // of a call that asks for them
};
Result run(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v, bool asks = false);
inline Result run(const Backend& backend, const Case& c, bool asks = false) { return run(backend, c.spec, c.q, c.keys, c.v, asks); }

/// Gradients of everything, or of the operands that are wanted, written over NaN. The keys are a tensor.
AttendGradients run_backward(const Backend& backend, const Result& forward, const Tensor& v, const GivenGradients& given,
                             const std::function<bool(const std::string& name)>& wants = nullptr);

std::vector<float> look(const Backend& backend, const AttentionRecord& record, int64_t batch, int64_t head,
                        const std::vector<int64_t>& rows, Range keys, WeightsCall::Quantity quantity = WeightsCall::Quantity::kWeight,
                        bool after = false, LookPrecision precision = LookPrecision::kExact);

/// The description as the sequences [batch, batch + 1), query heads `heads` and queries `queries` of the call see it, with keys [0, keys).
AttentionSpec restricted(const AttentionSpec& spec, int64_t batch, Range heads, Range queries, int64_t keys);

bool same_bits(const Tensor& a, const Tensor& b);
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

/// A copy with every channel of one position set, of every head of one sequence.
Tensor with(const Tensor& tensor, int64_t position, float value);
/// Row `row` of a head of one sequence; contiguous.
std::vector<float> row_of(const Tensor& tensor, int64_t head, int64_t row);

/// Pages filled from tensors, in appends of uneven size.
PagedKV paged(const Tensor& k, const Tensor& v, DType dtype = DType::kF32);

/// Name of a table for test names and messages: "ref", "cpu_avx512".
std::string table_name(const Backend& backend);

}  // namespace clearhead::conformance
