// Forward and backward functions behind the torch operator. They take and return plain tensors; the description is JSON text.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "arrays.h"
#include "backends/registry.h"
#include "base/format.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "digests.h"
#include "module.h"
#include "ops/attend_into.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

// Parses the JSON description `text`. operands: its tensors, in the order of for_each_operand.
AttentionSpec spec_of(const std::string& text, const std::vector<nb::object>& operands) {
  size_t next = 0;
  return spec_from_json(text, "description", [&](const std::string& name) {
    if (next == operands.size()) fail(ErrorCode::kInvalidArgument, "description: no operand for \"{}\"", name);
    return tensor_of(operands[next++], name.c_str());
  });
}

// Packs row statistics into one tensor f32 [3, batch, head, query]: m, l and `used`. If `used` is undefined, it is filled with -1.
Tensor packed(const RowStats& rows) {
  Shape shape = rows.m.shape();
  shape.insert(shape.begin(), 3);
  Tensor out = Tensor::empty(shape);
  float* to = out.mutable_data<float>();
  for (const Tensor* part : {&rows.m, &rows.l, &rows.used}) {
    if (part->defined()) {
      const Tensor dense = part->contiguous();
      to = std::copy_n(dense.data<float>(), dense.numel(), to);
    } else {
      to = std::fill_n(to, rows.m.numel(), -1.0F);
    }
  }
  return out;
}

RowStats unpacked(const Tensor& stats) {
  const auto part = [&](int64_t at) {
    const Tensor slice = stats.slice(0, at, at + 1).contiguous();
    return slice.reshape({stats.size(1), stats.size(2), stats.size(3)});
  };
  RowStats out{.m = part(0), .l = part(1), .used = part(2)};
  if (out.used.numel() > 0 && out.used.data<float>()[0] < 0) out.used = {};
  return out;
}

nb::tuple forward(const nb::object& q, const nb::object& k, const nb::object& v, const std::string& text,
                  const std::vector<nb::object>& operands) {
  const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k"), values = tensor_of(v, "v");
  const AttentionSpec spec = spec_of(text, operands);
  Tensor out, stats;
  without_gil([&] {
    const Attended made = attend(queries, keys, values, spec);
    out = made.out;
    stats = packed(made.record.rows);
  });
  return nb::make_tuple(array_of(out, q), array_of(stats, q));
}

// Computes only the output, laid out as [batch, query, head, d_v].
nb::object outputs(const nb::object& q, const nb::object& k, const nb::object& v, const AttentionSpec& spec) {
  const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k"), values = tensor_of(v, "v");
  if (queries.rank() != 4 || values.rank() != 4) fail(ErrorCode::kShape, "attention: expected q, k and v with four axes");
  const Tensor out = Tensor::empty({queries.size(0), queries.size(2), queries.size(1), values.size(3)}, queries.dtype());
  without_gil([&] {
    Tensor by_head = out.permute({0, 2, 1, 3});
    (void)attend_into(queries, keys, values, spec, by_head);
  });
  return array_of(out, q);
}

AttentionRecord record_of(const Tensor& q, const Tensor& k, const Tensor& stats, const AttentionSpec& spec) {
  AttentionRecord record{.spec = spec, .q = q, .keys = k, .rows = unpacked(stats), .first_query = 0, .query_length = q.size(2)};
  record.stamp = stamp_now(spec, q, record.keys, backend().isa);
  record.stamp.dtype = q.dtype();
  return record;
}

nb::list backward(const nb::object& d_out, const nb::object& q, const nb::object& k, const nb::object& v, const nb::object& out,
                  const nb::object& stats, const std::string& text, const std::vector<nb::object>& operands, bool wants_operands) {
  const Tensor gradient = tensor_of(d_out, "d_out"), queries = tensor_of(q, "q"), keys = tensor_of(k, "k"), values = tensor_of(v, "v");
  const Tensor output = tensor_of(out, "out"), rows = tensor_of(stats, "stats");
  const AttentionSpec spec = spec_of(text, operands);
  AttendGradients made;
  without_gil([&] {
    made = attend_gradients(record_of(queries, keys, rows, spec), values, output, gradient,
                            [&](const std::string&) { return wants_operands; });
  });
  nb::list all;
  for (const Tensor* one : {&made.q, &made.k, &made.v}) all.append(array_of(*one, q));
  for (const Tensor& one : made.operands) all.append(array_of(one, q));
  return all;
}

}  // namespace

void add_operator(nb::module_& module) {
  module.def("_forward", &forward, "q"_a, "k"_a, "v"_a, "description"_a, "operands"_a);
  module.def("_outputs", &outputs, "q"_a, "k"_a, "v"_a, "description"_a);
  module.def("_backward", &backward, "d_out"_a, "q"_a, "k"_a, "v"_a, "out"_a, "stats"_a, "description"_a, "operands"_a, "wants_operands"_a);
  module.def(
      "_record",
      [](const nb::object& q, const nb::object& k, const nb::object& stats, const AttentionSpec& spec) {
        const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k"), rows = tensor_of(stats, "stats");
        return without_gil([&] {
          const AttentionRecord record = record_of(queries, keys, rows, spec);
          return CheckedRecord{record, std::make_shared<const Digests>(record, std::vector<std::pair<std::string, Tensor>>{})};
        });
      },
      "q"_a, "k"_a, "stats"_a, "description"_a);
}

}  // namespace clearhead::python
