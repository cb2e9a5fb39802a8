// Bindings of AttentionSpec (Description in Python) and its components. A description shares the memory of its arrays, as a call does.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/spec.h"
#include "module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

std::optional<Tensor> optional_tensor(const nb::object& array, const char* name) {
  if (array.is_none()) return std::nullopt;
  return tensor_of(array, name);
}

Align align_of(const std::string& name) {
  if (name == "end") return Align::kEnd;
  if (name == "start") return Align::kStart;
  fail(ErrorCode::kInvalidArgument, "align: \"{}\"; expected \"end\" or \"start\"", name);
}

// Returns the smaller of two optional limits.
std::optional<int64_t> narrower(const std::optional<int64_t>& a, const std::optional<int64_t>& b) {
  if (a && b) return std::min(*a, *b);
  return a ? a : b;
}

bool is_all(const Band& band) { return !band.back && !band.ahead; }

template <class Part>
std::optional<Part> only(const std::optional<Part>& a, const std::optional<Part>& b, const char* name) {
  if (a && b) fail(ErrorCode::kInvalidArgument, "topology: both sides of & have {}; combine them into one first", name);
  return a ? a : b;
}

// Returns the topology of the pairs that are visible in both a and b.
Topology both(const Topology& a, const Topology& b) {
  Topology out{.band = is_all(a.band) ? b.band : a.band};
  if (!is_all(a.band) && !is_all(b.band)) {
    if (a.band.align != b.band.align || a.band.offset != b.band.offset)
      fail(ErrorCode::kInvalidArgument,
           "topology: both sides of & have a band, but the bands are aligned differently; give both the same align");
    out.band.back = narrower(a.band.back, b.band.back);
    out.band.ahead = narrower(a.band.ahead, b.band.ahead);
  }
  out.segments = only(a.segments, b.segments, "segments");
  out.mask = only(a.mask, b.mask, "a mask");
  out.block_sparse = only(a.block_sparse, b.block_sparse, "block_sparse");
  out.visible = only(a.visible, b.visible, "a rule");
  return out;
}

// Two descriptions are equal if their JSON is equal and all operands have the same bytes.
bool are_equal(const AttentionSpec& a, const AttentionSpec& b) {
  if (to_json(a) != to_json(b)) return false;
  std::vector<Tensor> of_a, of_b;
  for_each_operand(a, [&](const std::string&, const Tensor& operand) { of_a.push_back(operand.contiguous()); });
  for_each_operand(b, [&](const std::string&, const Tensor& operand) { of_b.push_back(operand.contiguous()); });
  return std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), [](const Tensor& x, const Tensor& y) {
    return x.dtype() == y.dtype() && x.shape() == y.shape() && std::equal(x.raw(), x.raw() + x.bytes(), y.raw());
  });
}

nb::dict parsed(const std::string& json) { return nb::cast<nb::dict>(nb::module_::import_("json").attr("loads")(json)); }

void add_topology(nb::module_& module) {
  nb::class_<Topology>(module, "Topology", "Which keys each query sees. a & b: the keys that are visible in both.")
      .def("__and__", &both)
      .def(
          "to_dict",
          [](const Topology& topology) { return nb::cast<nb::dict>(parsed(to_json(AttentionSpec{.topology = topology}))["topology"]); },
          "Returns the topology as a dict with the fields of \"topology\" in docs/spec.md; operands are given by name only.")
      .def("__repr__", [](const Topology& topology) { return to_json(AttentionSpec{.topology = topology}); })
      .def("__eq__", [](const Topology& a, const Topology& b) { return are_equal({.topology = a}, {.topology = b}); });
  module.def("full", &full, "Topology in which all pairs are visible.");
  module.def(
      "causal",
      [](std::optional<int64_t> keys, const std::string& align) {
        if (keys && *keys < 1)
          fail(ErrorCode::kInvalidArgument, "causal: window is {}; expected 1 or more keys, including the query's own", *keys);
        return causal(keys ? std::optional<int64_t>(*keys - 1) : std::nullopt, align_of(align));
      },
      "window"_a = nb::none(), nb::kw_only(), "align"_a = "end",
      "Causal topology: a query sees its own key and the keys before it.\n\n"
      "window: number of visible keys, including the query's own, as sliding_window in Hugging Face; default: no limit.\n"
      "align: \"end\" aligns the last query with the last key, \"start\" the first query with the first key.");
  module.def(
      "window", [](int64_t back, int64_t ahead, const std::string& align) { return window(back, ahead, align_of(align)); }, "back"_a,
      "ahead"_a, nb::kw_only(), "align"_a = "end",
      "Band: a query sees its own key, `back` keys before it and `ahead` keys after it. align: as in causal().");
  module.def(
      "_placed",
      [](std::optional<int64_t> back, std::optional<int64_t> ahead, int64_t first) {
        if (!back && !ahead) return full();
        return Topology{.band = {.back = back, .ahead = ahead, .align = Align::kStart, .offset = first}};
      },
      "back"_a.none(), "ahead"_a.none(), "first"_a);
  module.def(
      "mask", [](const nb::object& visible) { return Topology{.mask = Mask{tensor_of(visible, "mask")}}; }, "visible"_a,
      "Topology of a boolean mask. visible: bool [batch|1, head|1, query|1, key]; True means visible.");
  module.def(
      "segments",
      [](const nb::object& queries, const nb::object& keys) {
        const Tensor of_queries = indices_of(queries, "segments.queries");
        return Topology{.segments = Segments{of_queries, keys.is_none() ? of_queries : indices_of(keys, "segments.keys")}};
      },
      "queries"_a, "keys"_a = nb::none(),
      "Segments: a query sees the keys with its own segment id, as for packed documents. A negative id sees nothing (padding).\n\n"
      "queries: int [batch|1, query]; keys: int [batch|1, key], by default the same as queries (self-attention).");
  module.def(
      "block_sparse",
      [](const nb::object& offsets, const nb::object& keys, int64_t query_block, int64_t key_block) {
        return Topology{.block_sparse = BlockSparse{query_block, key_block, indices_of(offsets, "block_sparse.offsets"),
                                                    indices_of(keys, "block_sparse.keys")}};
      },
      "offsets"_a, "keys"_a, "query_block"_a = 1, "key_block"_a = 1,
      "Block-sparse topology in CSR form: query block b sees the key blocks keys[offsets[b]:offsets[b + 1]], in ascending order.\n\n"
      "offsets: int [batch|1, head|1, blocks + 1]; keys: int [batch|1, head|1, entry]. query_block, key_block: block sizes.");
  module.def(
      "graph",
      [](const nb::object& edges, int64_t nodes) {
        return Topology{.block_sparse = graph(indices_of(edges, "edges"), nodes).block_sparse};
      },
      "edges"_a, "nodes"_a, "Topology of a graph: node edges[0, e] sees node edges[1, e]. edges: int [2, edge]. nodes: number of nodes.");
  module.def(
      "big_bird",
      [](int64_t length, int64_t block, int64_t reach, int64_t everywhere, int64_t random, uint64_t seed) {
        return Topology{.block_sparse = big_bird(length, {block, reach, everywhere, random, seed})};
      },
      "length"_a, "block"_a = 64, "window"_a = 1, "global_"_a = 1, "random"_a = 3, "seed"_a = 0,
      "Block-sparse topology of Big Bird (Zaheer et al. 2020, section 2). With random=0 it is that of Longformer, in blocks.\n\n"
      "length: number of tokens. block: block size. window: blocks on either side of the query's block. global_: global blocks.\n"
      "random: random blocks per query block.");
}

void add_scores(nb::module_& module) {
  nb::class_<Dot>(module, "Dot", "Scaled dot product: s = scale * q.k. Default scale: 1/sqrt(d_k).")
      .def(nb::init<std::optional<float>>(), "scale"_a = nb::none());
  nb::class_<Additive>(
      module, "Additive",
      "Additive score: s = sum over channels of weight * tanh(q + k) (Bahdanau et al. 2015). With `slope`, LeakyReLU with that "
      "slope instead of tanh (GATv2). weight: f32 [head|1, d_k].")
      .def(
          "__init__",
          [](Additive* self, const nb::object& weight, std::optional<float> slope) {
            new (self) Additive{tensor_of(weight, "additive.weight"),
                                slope ? Additive::Activation::kLeakyRelu : Additive::Activation::kTanh, slope.value_or(0.2F)};
          },
          "weight"_a, "slope"_a = nb::none());
  nb::class_<Relative>(
      module, "Relative",
      "Score with relative positions, from tables of 2 * reach + 1 rows (Shaw et al. 2018; Transformer-XL; DeBERTa).\n\n"
      "keys, queries: f32 [head|1, 2 * reach + 1, d_k]; query_bias: f32 [head|1, d_k]; values: f32 [head|1, 2 * reach + 1, d_v].\n"
      "Default scale: 1/sqrt(d_k).")
      .def(
          "__init__",
          [](Relative* self, const nb::object& keys, const nb::object& queries, const nb::object& query_bias, const nb::object& values,
             std::optional<float> scale) {
            new (self) Relative{scale, tensor_of(keys, "relative.keys"), optional_tensor(queries, "relative.queries"),
                                optional_tensor(query_bias, "relative.query_bias"), optional_tensor(values, "relative.values")};
          },
          "keys"_a, "queries"_a = nb::none(), "query_bias"_a = nb::none(), "values"_a = nb::none(), "scale"_a = nb::none());
  nb::class_<Alibi>(module, "Alibi", "ALiBi: s - slope * distance (Press et al. 2022). slopes: f32 [head].")
      .def(
          "__init__", [](Alibi* self, const nb::object& slopes) { new (self) Alibi{tensor_of(slopes, "slopes")}; }, "slopes"_a);
  nb::class_<AttentionBias>(module, "Bias", "Additive bias: s + bias; -inf hides the pair. bias: f32 [batch|1, head|1, query|1, key].")
      .def(
          "__init__", [](AttentionBias* self, const nb::object& bias) { new (self) AttentionBias{tensor_of(bias, "bias")}; }, "bias"_a);
  nb::class_<SoftCap>(module, "SoftCap", "Soft cap: cap * tanh(s / cap).").def(nb::init<float>(), "cap"_a);
  nb::class_<Rule>(module, "Rule", "A recorded user-defined term, as rule() returns it.");
  nb::class_<EdgeBias>(
      module, "EdgeBias",
      "Bias for each entry of block_sparse(): s + the bias of the entry that makes the pair visible. bias: f32 [batch|1, head|1, entry].")
      .def(
          "__init__", [](EdgeBias* self, const nb::object& bias) { new (self) EdgeBias{tensor_of(bias, "edges")}; }, "bias"_a);
}

void add_normalisers(nb::module_& module) {
  nb::class_<Softmax>(module, "Softmax", "Softmax. sinks: f32 [head], one more logit per head that receives weight and has no value.")
      .def(
          "__init__", [](Softmax* self, const nb::object& sinks) { new (self) Softmax{optional_tensor(sinks, "sinks")}; },
          "sinks"_a = nb::none());
  nb::class_<Sparsemax>(module, "Sparsemax",
                        "Sparsemax: the point of the simplex that is nearest to the scores (Martins & Astudillo 2016).")
      .def(nb::init<>());
  nb::class_<Entmax15>(module, "Entmax15", "Entmax with alpha = 1.5 (Peters et al. 2019).").def(nb::init<>());
  nb::class_<Sigmoid>(module, "Sigmoid", "Sigmoid attention: weight = sigmoid(s + bias), independently for each pair.")
      .def(nb::init<float>(), "bias"_a = 0.0F);
  nb::class_<Hard>(module, "Hard",
                   "Hard attention: one key has all the weight, the one with the highest score or, with sampled=True, one drawn from the\n"
                   "softmax.\n\n"
                   "score_function: score-function gradients instead of straight-through gradients. seed: for sampling.")
      .def(
          "__init__",
          [](Hard* self, bool sampled, bool score_function, uint64_t seed) {
            new (self) Hard{sampled ? Hard::Choice::kSampled : Hard::Choice::kArgmax,
                            score_function ? Hard::Gradient::kScoreFunction : Hard::Gradient::kStraightThrough, seed};
          },
          "sampled"_a = false, "score_function"_a = false, "seed"_a = 0);
  nb::class_<LinearAttention>(module, "Linear",
                              "Linear attention: weight = s / sum of s. Features of q and k must be positive (Katharopoulos et al. 2020).")
      .def(nb::init<>());
}

AttentionSpec description(const Score& score, const std::vector<Term>& terms, const Topology& topology, const Normaliser& normaliser,
                          float dropout, uint64_t seed, const nb::object& head_mask) {
  AttentionSpec out{.score = score, .terms = terms, .topology = topology, .normaliser = normaliser};
  if (dropout != 0) out.after.dropout = Dropout{dropout, seed};
  out.after.head_mask = optional_tensor(head_mask, "head_mask");
  return out;
}

}  // namespace

void add_description(nb::module_& module) {
  add_topology(module);
  add_scores(module);
  add_normalisers(module);
  nb::class_<AttentionSpec>(
      module, "Description",
      "Describes what an attention call computes: the score, its terms, the topology, the normaliser, and what follows the\n"
      "normaliser (dropout, head mask).\n\n"
      "docs/spec.md lists its fields. Descriptions with equal contents compare equal.")
      .def(
          "__init__",
          [](AttentionSpec* self, const Score& score, const std::vector<Term>& terms, const Topology& topology,
             const Normaliser& normaliser, float dropout, uint64_t seed, const nb::object& head_mask) {
            new (self) AttentionSpec(description(score, terms, topology, normaliser, dropout, seed, head_mask));
          },
          nb::kw_only(), "score"_a = Dot{}, "terms"_a = std::vector<Term>{}, "topology"_a = Topology{}, "normaliser"_a = Softmax{},
          "dropout"_a = 0.0F, "dropout_seed"_a = 0, "head_mask"_a = nb::none())
      .def_prop_ro(
          "operands",
          [](const AttentionSpec& spec) {
            nb::dict out;
            for_each_operand(spec, [&](const std::string& name, const Tensor& operand) { out[name.c_str()] = array_of(operand); });
            return out;
          },
          "Dict of the arrays in the description. The names are those in its JSON and in Record.gradients().")
      .def(
          "to_json", [](const AttentionSpec& spec) { return to_json(spec); }, "Returns the description as JSON (docs/spec.md).")
      .def(
          "to_dict", [](const AttentionSpec& spec) { return parsed(to_json(spec)); },
          "Returns the description as a dict with the fields of docs/spec.md. Operands are named; `operands` has their arrays.")
      .def("__repr__", [](const AttentionSpec& spec) { return to_json(spec); })
      .def("__eq__", &are_equal);
}

}  // namespace clearhead::python
