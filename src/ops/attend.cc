// The fused attention call: checks its arguments, allocates its results, calls the backend in use, and stamps the record.
#include "clearhead/attend.h"

#include <utility>

#include "backends/registry.h"
#include "base/format.h"
#include "ops/attend_into.h"
#include "spec/names.h"
#include "spec/visible.h"

namespace clearhead {
namespace {

void check_tensor(const char* name, const char* axes, const Tensor& tensor, const Tensor& q) {
  if (!tensor.defined()) fail(ErrorCode::kInvalidArgument, "attend: {} was given no tensor; expected {}", name, axes);
  if (tensor.rank() != 4) fail(ErrorCode::kShape, "attend: {}: expected {}, found {}", name, axes, to_string(tensor.shape()));
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBF16 && tensor.dtype() != DType::kF16) {
    fail(ErrorCode::kUnsupported, "attend: {} is {}; expected f32, bf16 or f16", name, to_string(tensor.dtype()));
  }
  if (tensor.dtype() != q.dtype()) {
    fail(ErrorCode::kUnsupported, "attend: {} is {}, q is {}; expected the same dtype for q, k and v (to_dtype() converts)", name,
         to_string(tensor.dtype()), to_string(q.dtype()));
  }
}

void check_axis(const char* name, const char* axis, int64_t found, const char* other, int64_t expected) {
  if (found != expected)
    fail(ErrorCode::kShape, "attend: {} of {} is {}, but of {} it is {}; they must be equal", axis, name, found, other, expected);
}

AttentionShape shape_of(const Tensor& q, const Tensor& k, const Tensor& v) {
  check_tensor("k", "[batch, key_head, key, d_k]", k, q);
  check_tensor("v", "[batch, key_head, key, d_v]", v, q);
  check_axis("k", "batch", k.size(0), "q", q.size(0));
  check_axis("k", "d_k", k.size(3), "q", q.size(3));
  check_axis("v", "batch", v.size(0), "k", k.size(0));
  check_axis("v", "key_head", v.size(1), "k", k.size(1));
  check_axis("v", "key", v.size(2), "k", k.size(2));
  return {q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3)};
}

AttentionShape shape_of(const Tensor& q, const PagedKV& keys) {
  check_axis("the cache", "batch", static_cast<int64_t>(keys.pages.size()), "q", q.size(0));
  check_axis("the cache", "d_k", keys.d_k, "q", q.size(3));
  return {q.size(0), q.size(1), keys.key_heads, q.size(2), keys.length, q.size(3), keys.d_v};
}

AttentionShape checked(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec) {
  check_tensor("q", "[batch, head, query, d_k]", q, q);
  const PagedKV* pages = std::get_if<PagedKV>(&keys);
  const AttentionShape shape = pages ? shape_of(q, *pages) : shape_of(q, std::get<Tensor>(keys), v);
  validate(spec, shape);
  if (pages) check_kept("attend", *pages, spec, shape);
  if (const auto missing = backend().refusal(spec, shape)) {
    fail(ErrorCode::kUnsupported, "attend: backend \"{}\" cannot run this description: {}", backend().name, *missing);
  }
  return shape;
}

// Computes result.out and, if they are defined, result.entropy and result.distance.
AttentionRecord run(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec, const AttentionShape& shape,
                    AttendedRows& result) {
  AttentionRecord record;
  record.spec = spec;
  record.q = q;
  record.keys = keys;
  record.query_length = shape.queries;
  record.rows.m = Tensor::empty({shape.batch, shape.heads, shape.queries});
  record.rows.l = Tensor::empty({shape.batch, shape.heads, shape.queries});
  record.stamp = stamp_now(spec, q, keys, backend().isa);
  backend().forward({.spec = spec,
                     .q = q,
                     .keys = record.keys,
                     .v = v,
                     .out = result.out,
                     .rows = record.rows,
                     .entropy = result.entropy.defined() ? &result.entropy : nullptr,
                     .distance = result.distance.defined() ? &result.distance : nullptr});
  return record;
}

// Checks the output or its gradient.
void check_output(const char* name, const Tensor& tensor, const AttentionShape& shape, DType dtype) {
  const Shape expected = {shape.batch, shape.heads, shape.queries, shape.d_v};
  if (tensor.defined() && tensor.dtype() == dtype && tensor.shape() == expected) return;
  fail(ErrorCode::kShape, "attend: {}: expected {} {}, found {} {}", name, to_string(dtype), to_string(expected), to_string(tensor.dtype()),
       to_string(tensor.shape()));
}

void check_log_sum_exp(const Tensor& gradient, const Normaliser& normaliser, const AttentionShape& shape) {
  if (!gradient.defined()) return;
  if (!std::holds_alternative<Softmax>(normaliser)) {
    fail(ErrorCode::kUnsupported,
         "attend_gradients: a gradient of the log-sum-exp was passed, but {} has no log-sum-exp; use softmax, or pass no such gradient",
         name_of(normaliser));
  }
  const Shape expected = {shape.batch, shape.heads, shape.queries};
  if (gradient.dtype() == DType::kF32 && gradient.shape() == expected) return;
  fail(ErrorCode::kShape, "attend_gradients: d_log_sum_exp: expected f32 {}, found {} {}", to_string(expected), to_string(gradient.dtype()),
       to_string(gradient.shape()));
}

AttendedRows attend_over(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec, const RowSums& wanted) {
  const AttentionShape shape = checked(q, keys, v, spec);
  AttendedRows result;
  result.out = Tensor::empty({shape.batch, shape.heads, shape.queries, shape.d_v}, q.dtype());
  if (wanted.entropy) result.entropy = Tensor::zeros({shape.batch, shape.heads, shape.queries});
  if (wanted.distance) result.distance = Tensor::zeros({shape.batch, shape.heads, shape.queries});
  result.record = run(q, keys, v, spec, shape, result);
  return result;
}

Attended attend_over(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec) {
  AttendedRows result = attend_over(q, keys, v, spec, {});
  return {std::move(result.out), std::move(result.record)};
}

}  // namespace

Attended attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) { return attend_over(q, k, v, spec); }

Attended attend(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec) { return attend_over(q, keys, Tensor(), spec); }

AttendedRows attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec, const RowSums& wanted) {
  return attend_over(q, k, v, spec, wanted);
}

AttendedRows attend(const Tensor& q, const PagedKV& keys, const AttentionSpec& spec, const RowSums& wanted) {
  return attend_over(q, keys, Tensor(), spec, wanted);
}

AttendGradients attend_gradients(const AttentionRecord& record, const Tensor& v, const Tensor& out, const GivenGradients& given,
                                 const std::function<bool(const std::string& name)>& wants, int64_t memory) {
  const Tensor* k = std::get_if<Tensor>(&record.keys);
  if (!k) fail(ErrorCode::kUnsupported, "attend_gradients: the keys are pages of a cache; gradients need attend() over tensors");
  if (record.rows_kept() != record.query_length) {
    fail(ErrorCode::kUnsupported, "attend_gradients: the record keeps {} of {} queries; expected all of them", record.rows_kept(),
         record.query_length);
  }
  record.check_fresh();
  const AttentionShape shape = checked(record.q, record.keys, v, record.spec);
  const DType dtype = record.q.dtype();
  check_output("out", out, shape, dtype);
  check_output("d_out", given.out, shape, dtype);
  check_log_sum_exp(given.log_sum_exp, record.spec.normaliser, shape);
  if (memory < 0 || memory > shape.keys) {
    fail(ErrorCode::kInvalidArgument, "attend_gradients: memory is {} keys; expected 0 to {}, the number of keys", memory, shape.keys);
  }
  AttendGradients result{
      .q = Tensor::empty(record.q.shape(), dtype), .k = Tensor::empty(k->shape(), dtype), .v = Tensor::empty(v.shape(), dtype)};
  for_each_operand(record.spec, [&](const std::string& name, const Tensor& operand) {
    const bool wanted = operand.dtype() == DType::kF32 && (!wants || wants(name));
    result.operands.push_back(wanted ? Tensor::empty(operand.shape()) : Tensor());
  });
  backend().backward({.record = record,
                      .v = v,
                      .out = out,
                      .d_out = given.out,
                      .d_log_sum_exp = given.log_sum_exp,
                      .d_q = result.q,
                      .d_k = result.k,
                      .d_v = result.v,
                      .d_operands = result.operands});
  if (memory > 0) {
    result.k = result.k.slice(2, memory, shape.keys).clone();
    result.v = result.v.slice(2, memory, shape.keys).clone();
  }
  return result;
}

void check_kept(const char* what, const PagedKV& keys, const AttentionSpec& spec, const AttentionShape& shape) {
  if (keys.first == 0 || shape.queries == 0) return;
  const int64_t position = first_position(spec.topology.band, shape.queries, shape.keys);
  const Range seen = visible_band(spec.topology.band, position, shape.keys);
  if (seen.size() == 0 || seen.begin >= keys.first) return;
  fail(ErrorCode::kInvalidArgument,
       "{}: the cache has released the keys before {}, but the description shows key {} to query 0. Use a band whose `back` is at most "
       "what keep_last() kept, or a cache that keeps all keys.",
       what, keys.first, seen.begin);
}

AttentionRecord attend_into(const Tensor& q, const Keys& keys, const Tensor& v, const AttentionSpec& spec, Tensor& out) {
  const AttentionShape shape = checked(q, keys, v, spec);
  check_output("out", out, shape, q.dtype());
  AttendedRows result{.out = out};
  return run(q, keys, v, spec, shape, result);
}

}  // namespace clearhead
