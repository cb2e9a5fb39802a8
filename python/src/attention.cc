// Bindings of attend(), its gradients and the KV cache. The GIL is released during computation.
#include "clearhead/attend.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "base/format.h"
#include "digests.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

// The record of a call, with the values and the output, which the gradients need.
struct Attention {
  AttentionRecord record{};
  Tensor v{}, out{};
  SharedDigests digests{};
};

// Python has an array over the output, so the output can be overwritten, as v can; both are hashed.
Attention attention_of(const AttentionRecord& record, const Tensor& v, const Tensor& out) {
  return {record, v, out, std::make_shared<const Digests>(record, std::vector<std::pair<std::string, Tensor>>{{"v", v}, {"out", out}})};
}

nb::tuple attend_arrays(const nb::object& q, const nb::object& k, const nb::object& v, const AttentionSpec& spec) {
  const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k"), values = tensor_of(v, "v");
  Attention kept = without_gil([&] {
    const Attended made = attend(queries, keys, values, spec);
    return attention_of(made.record, values, made.out);
  });
  const nb::object out = array_of(kept.out, q);
  return nb::make_tuple(out, nb::cast(std::move(kept)));
}

nb::tuple attend_cache(const nb::object& q, const KVCache& cache, const AttentionSpec& spec) {
  const Tensor queries = tensor_of(q, "q");
  const PagedKV keys = cache.snapshot();  // another thread may append meanwhile
  Attention kept = without_gil([&] {
    const Attended made = attend(queries, keys, spec);
    Attention of = attention_of(made.record, {}, {});
    of.out = made.out;
    return of;
  });
  const nb::object out = array_of(kept.out, q);
  return nb::make_tuple(out, nb::cast(std::move(kept)));
}

// Returns a copy of the record that owns all its memory.
Attention pinned(const Attention& of) {
  return without_gil([&] {
    if (of.digests) of.digests->check_all();
    const auto copy = [](const Tensor& tensor) { return tensor.defined() ? tensor.clone() : tensor; };
    return Attention{of.record.pin(), copy(of.v), copy(of.out), {}};
  });
}

nb::tuple gradients(const Attention& of, const nb::object& d_out, bool operands) {
  const Tensor given = tensor_of(d_out, "d_out");
  const auto wanted = [operands](const std::string&) { return operands; };
  const AttendGradients made = without_gil([&] {
    if (of.digests) of.digests->check_all();
    return attend_gradients(of.record, of.v, of.out, given, wanted);
  });
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

FeatureShift shift_of(const std::string& name) {
  if (name == "none") return FeatureShift::kNone;
  if (name == "row") return FeatureShift::kEachRow;
  if (name == "all") return FeatureShift::kAllRows;
  fail(ErrorCode::kInvalidArgument, "shift: \"{}\"; expected \"row\" for queries, \"all\" for keys, or \"none\"", name);
}

// Key selection by content, and feature maps of linear attention.
void add_choices(nb::module_& module) {
  module.def(
      "select_top_keys",
      [](const nb::object& q, const nb::object& k, const AttentionSpec& spec, int64_t count) {
        const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k");
        return Topology{.block_sparse = without_gil([&] { return select_top_keys(queries, keys, spec, count); })};
      },
      "q"_a, "k"_a, "description"_a, "count"_a,
      "Topology of the `count` keys with the highest score of each query, for sparse attention.\n\n"
      "q: [batch, head, query, d_k]; k: [batch, key_head, key, d_k]; as in attend(). description: the scores and the visible keys\n"
      "to choose from. The selection is made once; gradients treat it as constant. Raises InvalidArgumentError for count < 1.");
  module.def(
      "select_top_blocks",
      [](const nb::object& q, const nb::object& k, const AttentionSpec& spec, int64_t count, int64_t query_block, int64_t key_block,
         bool own) {
        const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k");
        const BlockChoice choice{.query_block = query_block, .key_block = key_block, .count = count, .own = own};
        return Topology{.block_sparse = without_gil([&] { return select_top_blocks(queries, keys, spec, choice); })};
      },
      "q"_a, "k"_a, "description"_a, "count"_a = 8, nb::kw_only(), "query_block"_a = 64, "key_block"_a = 64, "own"_a = true,
      "Topology that selects, for each block of `query_block` queries, the `count` blocks of `key_block` keys whose mean key has\n"
      "the largest dot product with the mean query (Lu et al. 2025).\n\n"
      "q: [batch, head, query, d_k]; k: [batch, key_head, key, d_k]. own: always include the blocks of the queries' own\n"
      "positions.");
  module.def(
      "select_same_bucket",
      [](const nb::object& q, const nb::object& k, int64_t buckets, int64_t rounds, uint64_t seed) {
        const Tensor queries = tensor_of(q, "q"), keys = tensor_of(k, "k");
        const Hashing hashing{.buckets = buckets, .rounds = rounds, .seed = seed};
        return Topology{.block_sparse = without_gil([&] { return select_same_bucket(queries, keys, hashing); })};
      },
      "q"_a, "k"_a, nb::kw_only(), "buckets"_a = 64, "rounds"_a = 1, "seed"_a = 0,
      "Topology in which a query sees the keys that share its hash bucket in any of the rounds (Reformer; Kitaev et al. 2020).\n\n"
      "q: [batch, head, query, d_k]; k: [batch, key_head, key, d_k]. buckets: an even number.");
  module.def(
      "local_p", [](const nb::object& centres, int64_t reach) { return local_p(tensor_of(centres, "centres"), reach); }, "centres"_a,
      "reach"_a,
      "Description of local attention around predicted centres (Luong et al. 2015, local-p).\n\n"
      "centres: f32 [batch|1, head|1, query], as positions among the keys.");
  module.def(
      "elu_plus_one",
      [](const nb::object& x) {
        const Tensor of = tensor_of(x, "x");
        return array_of(without_gil([&] { return elu_plus_one(of); }), x);
      },
      "x"_a, "Feature map elu(x) + 1 for Linear attention (Katharopoulos et al. 2020). x: f32 [batch, head, length, d].");
  module.def(
      "orthogonal_projection",
      [](int64_t features, int64_t d, uint64_t seed) { return array_of(orthogonal_projection(features, d, seed)); }, "features"_a, "d"_a,
      "seed"_a = 0, "Random orthogonal projection for positive_random_features(), f32 [features, d].");
  module.def(
      "positive_random_features",
      [](const nb::object& x, const nb::object& projection, const std::string& shift) {
        const Tensor of = tensor_of(x, "x"), by = tensor_of(projection, "projection");
        const FeatureShift how = shift_of(shift);
        return array_of(without_gil([&] { return positive_random_features(of, by, how); }), x);
      },
      "x"_a, "projection"_a, "shift"_a,
      "Feature map for Linear attention that approximates softmax (Choromanski et al. 2021).\n\n"
      "x: f32 [batch, head, length, d]; projection: f32 [features, d]. Returns f32 [batch, head, length, features]. shift,\n"
      "against overflow: \"row\" for queries, \"all\" for keys, \"none\" for keys that arrive one at a time.");
}

}  // namespace

void add_attention(nb::module_& module) {
  nb::class_<Attention>(module, "Record",
                        "Record of an attention call: q, k, two numbers per row, and the description. ch.Map(record) shows its weights.")
      .def_prop_ro(
          "description", [](const Attention& self) { return self.record.spec; }, "The Description of the call.")
      .def_prop_ro(
          "shape",
          [](const Attention& self) {
            const AttentionShape shape = self.record.shape();
            return nb::make_tuple(shape.batch, shape.heads, shape.queries, shape.keys);
          },
          "Shape of the call: (batch, heads, queries, keys).")
      .def_prop_ro(
          "unpinned", [](const Attention& self) { return self.record.unpinned(); },
          "True if the record shares memory with arrays that can be overwritten. Their bytes are hashed at the call. Before weights\n"
          "or gradients are computed, the hashes are compared, and StaleError is raised if they differ. pin() makes copies instead.")
      .def("pin", &pinned,
           "Returns a record with its own copies of q, k, v, the output and the operands, unaffected by later changes. Raises StaleError.")
      .def_prop_ro(
          "log_sum_exp", [](const Attention& self) { return array_of(log_sum_exp(self.record.rows)); },
          "Natural log-sum-exp of each row of the softmax, f32 [batch, head, query].")
      .def("gradients", &gradients, "d_out"_a, "operands"_a = false,
           "Backward pass: returns (d_q, d_k, d_v) for d_out, the gradient of the output. No N x N buffer is allocated.\n\n"
           "d_out: [batch, head, query, d_v], in the dtype of the output. operands=True also returns a dict of the gradients of the\n"
           "description's operands (bias, slopes, tables of rules, ...), f32, by name. Raises ShapeError; StaleError if q, k, v, the\n"
           "output or an operand was changed after the call; UnsupportedError for a record over a KVCache.")
      .def("__repr__", [](const Attention& self) {
        const AttentionShape shape = self.record.shape();
        return "clearhead.Record(batch " + std::to_string(shape.batch) + ", heads " + std::to_string(shape.heads) + ", " +
               std::to_string(shape.queries) + " queries x " + std::to_string(shape.keys) + " keys, " + to_json(self.record.spec) + ")";
      });
  module.def("attend", &attend_arrays, "q"_a.none(), "k"_a.none(), "v"_a.none(), "description"_a);
  module.def("attend", &attend_cache, "q"_a, "cache"_a, "description"_a);
  add_choices(module);
  nb::class_<KVCache>(module, "KVCache",
                      "Paged cache of keys and values. append() extends it; in attend(q, cache) the queries are its last positions.")
      .def(
          "__init__",
          [](KVCache* self, const std::string& dtype) {
            if (dtype != "f32" && dtype != "bf16" && dtype != "f16")
              fail(ErrorCode::kUnsupported, "KVCache: dtype \"{}\"; expected \"f32\", \"bf16\" or \"f16\"", dtype);
            const DType wanted = dtype == "bf16" ? DType::kBF16 : dtype == "f16" ? DType::kF16 : DType::kF32;
            new (self) KVCache(wanted);
          },
          "dtype"_a = "f32", "dtype of the stored keys and values: \"f32\", or \"bf16\" or \"f16\" with half the memory.")
      .def(
          "append",
          [](KVCache& self, const nb::object& k, const nb::object& v) {
            const Tensor keys = tensor_of(k, "k"), values = tensor_of(v, "v");
            self.append(keys, values);  // under the GIL: one thread at a time
          },
          "k"_a, "v"_a,
          "Appends keys k: [batch, key_head, new, d_k] and values v: [batch, key_head, new, d_v]. Raises ShapeError if a later call\n"
          "differs from the first in anything but the number of keys.")
      .def("keep_last", &KVCache::keep_last, "count"_a,
           "Releases all whole pages before the last `count` keys. Positions do not change. attend() raises InvalidArgumentError for a\n"
           "description in which a released key is visible.")
      .def("select", &KVCache::select, "rows"_a, "Reorders the sequences, for beam search: sequence i becomes a copy of sequence rows[i].")
      .def("__len__", [](const KVCache& self) { return self.length(); });
  module.def("_record_of", [](const Attention& of) { return CheckedRecord{of.record, of.digests}; });
  module.def(
      "_attention_of",
      [](const CheckedRecord& of, const nb::object& v, const nb::object& out) {
        const Tensor values = tensor_of(v, "v"), output = tensor_of(out, "out");
        return without_gil([&] { return attention_of(of.record, values, output); });
      },
      "record"_a, "v"_a, "out"_a);
  nb::class_<CheckedRecord>(module, "_Record");
}

}  // namespace clearhead::python
