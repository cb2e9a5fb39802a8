// Bindings of circuits: the vocabulary × vocabulary matrices of heads whose weights Python has found (clearhead/_circuits).
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <utility>

#include "arrays.h"
#include "explain/circuits.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

using namespace explain;  // NOLINT(google-build-using-namespace)

struct Circuits {
  VocabularyEnds ends{};
  nn::Norm norm{};  // kind and epsilon of the norms before attention
  std::unique_ptr<CopyingScores> copying{};

  const CopyingScores& scores() {
    if (!copying) copying = std::make_unique<CopyingScores>(ends, norm);
    return *copying;
  }
};

// A copy: torch may change its weights. Only the tables of embeddings are shared.
Tensor copy_of(const nb::handle& array, const char* name) { return to_f32(tensor_of(array, name)).contiguous(); }

// None, or (is_rms, epsilon, gain, bias or None).
nn::Norm norm_of(const nb::object& given) {
  nn::Norm norm;
  if (given.is_none()) return norm;
  norm.is_rms = nb::cast<bool>(given[0]);
  norm.epsilon = nb::cast<double>(given[1]);
  norm.weight = copy_of(given[2], "gain");
  if (!given[3].is_none()) norm.bias = copy_of(given[3], "bias");
  return norm;
}

AttentionWeights weights_of(const nb::dict& given) {
  AttentionWeights out{.norm = norm_of(given["norm"]),
                       .heads = nb::cast<int64_t>(given["heads"]),
                       .key_heads = nb::cast<int64_t>(given["key_heads"]),
                       .head_dim = nb::cast<int64_t>(given["head_dim"]),
                       .query = copy_of(given["query"], "query"),
                       .query_bias = {},
                       .key = copy_of(given["key"], "key"),
                       .value = copy_of(given["value"], "value"),
                       .output = copy_of(given["output"], "output"),
                       .scale = nb::cast<double>(given["scale"])};
  if (!given["query_bias"].is_none()) out.query_bias = copy_of(given["query_bias"], "query_bias");
  return out;
}

nb::list tuples_of(const std::vector<TokenPair>& pairs) {
  nb::list out;
  for (const TokenPair& pair : pairs) out.append(nb::make_tuple(pair.row, pair.column, pair.value));
  return out;
}

nb::list tuples_of(const std::vector<TokenValue>& values) {
  nb::list out;
  for (const TokenValue& one : values) out.append(nb::make_tuple(one.token, one.value));
  return out;
}

}  // namespace

void add_circuits(nb::module_& module) {
  nb::class_<VocabularyMatrix>(module, "_VocabularyMatrix")
      .def(
          "largest",
          [](const VocabularyMatrix& self, int64_t count) { return tuples_of(without_gil([&] { return self.largest(count); })); },
          "count"_a)
      .def(
          "largest_of_row",
          [](const VocabularyMatrix& self, int64_t row, int64_t count) { return tuples_of(self.largest_of_row(row, count)); }, "row"_a,
          "count"_a)
      .def(
          "smallest_of_row",
          [](const VocabularyMatrix& self, int64_t row, int64_t count) { return tuples_of(self.smallest_of_row(row, count)); }, "row"_a,
          "count"_a)
      .def("rank_of_own_column", [](const VocabularyMatrix& self) { return without_gil([&] { return self.rank_of_own_column(); }); })
      .def_prop_ro("factors", [](const VocabularyMatrix& self) { return nb::make_tuple(array_of(self.rows), array_of(self.columns)); });
  nb::class_<AttentionWeights>(module, "_AttentionWeights").def("__init__", [](AttentionWeights* self, const nb::dict& given) {
    new (self) AttentionWeights(weights_of(given));
  });
  nb::class_<Circuits>(module, "_Circuits")
      .def(
          "__init__",
          [](Circuits* self, const nb::object& embedding, double scale, const nb::object& unembedding, const nb::object& final_norm,
             const nb::object& norm) {
            Circuits made{.ends = {.embedding = tensor_of(embedding, "embedding"),
                                   .scale = scale,
                                   .unembedding = tensor_of(unembedding, "unembedding"),
                                   .final_norm = norm_of(final_norm)},
                          .norm = norm_of(norm)};
            made.ends.check();
            new (self) Circuits(std::move(made));
          },
          "embedding"_a, "scale"_a, "unembedding"_a, "final_norm"_a.none(), "norm"_a.none())
      .def(
          "qk",
          [](const Circuits& self, const AttentionWeights& weights, int64_t head) {
            return without_gil([&] { return qk_circuit(self.ends, weights, head); });
          },
          "weights"_a, "head"_a)
      .def(
          "ov",
          [](const Circuits& self, const AttentionWeights& weights, int64_t head) {
            return without_gil([&] { return ov_circuit(self.ends, weights, head); });
          },
          "weights"_a, "head"_a)
      .def(
          "copying",
          [](Circuits& self, const AttentionWeights& weights) {
            std::vector<double> out = without_gil([&] {
              std::vector<double> scores;
              for (int64_t head = 0; head < weights.heads; ++head) scores.push_back(self.scores().of(weights, head));
              return scores;
            });
            return nb::cast(out);
          },
          "weights"_a)
      .def(
          "copying_null",
          [](Circuits& self, const AttentionWeights& weights, int64_t samples, uint64_t seed) {
            const NullDistribution null = without_gil([&] { return self.scores().null(weights, samples, seed); });
            return nb::make_tuple(null.mean, null.deviation);
          },
          "weights"_a, "samples"_a, "seed"_a);
}

}  // namespace clearhead::python
