// attend, its gradients and the KV cache. The GIL is released while they compute.
#include "clearhead/attend.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "freely.h"
#include "module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

// A record, and of which kind the arrays were that it is of.
struct Attention {
  AttentionRecord record{};
  Tensor v{}, out{};
};

nb::tuple attend_arrays(const nb::object& q, const nb::object& k, const nb::object& v, const AttentionSpec& spec) {
  const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k"), values = tensor_of(v, "v");
  const Attended made = freely([&] { return attend(queries, keys, values, spec); });
  return nb::make_tuple(array_of(made.out, q), nb::cast(Attention{made.record, values, made.out}));
}

nb::tuple attend_cache(const nb::object& q, const KVCache& cache, const AttentionSpec& spec) {
  const Tensor queries = tensor_of(q, "q");
  const Attended made = freely([&] { return attend(queries, cache.snapshot(), spec); });
  return nb::make_tuple(array_of(made.out, q), nb::cast(Attention{made.record, {}, made.out}));
}

nb::tuple gradients(const Attention& of, const nb::object& d_out, bool operands) {
  const Tensor given = tensor_of(d_out, "d_out");
  const auto wanted = [operands](const std::string&) { return operands; };
  const AttendGradients made = freely([&] { return attend_gradients(of.record, of.v, of.out, given, wanted); });
  const nb::object q = array_of(made.q, d_out), k = array_of(made.k, d_out), v = array_of(made.v, d_out);
  if (!operands) return nb::make_tuple(q, k, v);
  nb::dict of_operands;
  size_t at = 0;
  for_each_operand(of.record.spec, [&](const std::string& name, const Tensor&) {
    const Tensor& gradient = made.operands[at++];
    if (gradient.defined()) of_operands[name.c_str()] = array_of(gradient, d_out);
  });
  return nb::make_tuple(q, k, v, of_operands);
}

}  // namespace

void add_attention(nb::module_& module) {
  nb::class_<Attention>(module, "Record",
                        "What an attention call keeps: q, k, two numbers a row, and the description. ch.Map(record) shows its weights.")
      .def_prop_ro("description", [](const Attention& self) { return self.record.spec; })
      .def_prop_ro(
          "shape",
          [](const Attention& self) {
            const AttentionShape shape = self.record.shape();
            return nb::make_tuple(shape.batch, shape.heads, shape.queries, shape.keys);
          },
          "(batch, heads, queries, keys)")
      .def_prop_ro(
          "unpinned", [](const Attention& self) { return self.record.unpinned(); },
          "True: the record is over memory of somebody else, who may write it unseen. pin() copies it.")
      .def("pin",
           [](const Attention& self) {
             return Attention{self.record.pin(), self.v, self.out};
           })
      .def_prop_ro(
          "log_sum_exp", [](const Attention& self) { return array_of(log_sum_exp(self.record.rows)); },
          "Natural log-sum-exp of every row of a softmax, f32 [batch, head, query].")
      .def("gradients", &gradients, "d_out"_a, "operands"_a = false,
           "(d_q, d_k, d_v) from the gradient of the output, d_out: [batch, head, query, d_v] in its dtype. Nothing N x N is made.\n"
           "operands=True: a dict more, of the gradients of the description's operands (bias, slopes, tables of rules ...), f32, by name.\n"
           "Raises ShapeError, StaleError if q, k or an operand was changed since, UnsupportedError for a record over a KVCache.")
      .def("__repr__", [](const Attention& self) {
        const AttentionShape shape = self.record.shape();
        return "clearhead.Record(batch " + std::to_string(shape.batch) + ", heads " + std::to_string(shape.heads) + ", " +
               std::to_string(shape.queries) + " queries x " + std::to_string(shape.keys) + " keys, " + to_json(self.record.spec) + ")";
      });
  module.def("attend", &attend_arrays, "q"_a, "k"_a, "v"_a, "description"_a);
  module.def("attend", &attend_cache, "q"_a, "cache"_a, "description"_a);
  module.def(
      "select_top_keys",
      [](const nb::object& q, const nb::object& k, const AttentionSpec& spec, int64_t count) {
        const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k");
        return Topology{.lists = freely([&] { return select_top_keys(queries, keys, spec, count); })};
      },
      "q"_a, "k"_a, "description"_a, "count"_a, "Lists of the `count` keys of highest score of each query, to attend to these alone.");
  nb::class_<KVCache>(module, "KVCache", "Keys and values in pages, grown by append(); attend(q, cache) is about the last queries.")
      .def(
          "__init__",
          [](KVCache* self, const std::string& dtype) {
            const DType wanted = dtype == "bf16" ? DType::kBF16 : dtype == "f16" ? DType::kF16 : DType::kF32;
            new (self) KVCache(wanted);
          },
          "dtype"_a = "f32")
      .def(
          "append",
          [](KVCache& self, const nb::object& k, const nb::object& v) {
            const Tensor keys = tensor_of(k, "k"), values = tensor_of(v, "v");
            const nb::gil_scoped_release free;
            self.append(keys, values);
          },
          "k"_a, "v"_a, "k: [batch, key_head, new, d_k], v: [batch, key_head, new, d_v]")
      .def("keep_last", &KVCache::keep_last, "count"_a)
      .def("__len__", [](const KVCache& self) { return self.length(); });
  module.def("_record_of", [](const Attention& of) { return nb::cast(of.record); });
  nb::class_<AttentionRecord>(module, "_Record");
}

}  // namespace clearhead::python
