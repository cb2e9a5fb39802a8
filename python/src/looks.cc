// Bindings of maps over records and of single heads: rows, columns, tiles and statistics of exact weights, recomputed on demand.
#include "looks.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/atlas.h"
#include "clearhead/error.h"
#include "digests.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

int64_t place_of(nb::handle given, const char* name) {
  int64_t out = 0;
  if (nb::isinstance<nb::bool_>(given) || !nb::try_cast(given, out, true)) {
    fail(ErrorCode::kInvalidArgument, "{}: {} is not an index; expected (begin, end), a slice or one number, with integers below 2**63",
         name, nb::cast<std::string>(nb::repr(given)));
  }
  return out;
}

}  // namespace

Range range_of(const nb::object& given, int64_t size, const char* name) {
  if (given.is_none()) return {0, size};
  if (nb::isinstance<nb::slice>(given)) {
    const nb::object begin = given.attr("start"), end = given.attr("stop");
    return {begin.is_none() ? 0 : place_of(begin, name), end.is_none() ? size : place_of(end, name)};
  }
  if (nb::isinstance<nb::tuple>(given) || nb::isinstance<nb::list>(given)) {
    if (nb::len(given) != 2) fail(ErrorCode::kInvalidArgument, "{}: expected (begin, end), found {} numbers", name, nb::len(given));
    return {place_of(given[0], name), place_of(given[1], name)};
  }
  const int64_t at = place_of(given, name);
  if (at == std::numeric_limits<int64_t>::max()) fail(ErrorCode::kInvalidArgument, "{}: {} is beyond the map", name, at);
  return {at, at + 1};
}

int64_t place_in(const char* axis, int64_t index, int64_t size) {
  if (index < -size || index >= size) {
    const nb::object kind = nb::module_::import_("clearhead.errors").attr("OutOfRangeError");
    PyErr_SetString(kind.ptr(), format("{} {}: expected {} to {}", axis, index, -size, size - 1).c_str());
    throw nb::python_error();
  }
  return index < 0 ? index + size : index;
}

nb::object floats(const std::vector<float>& values) { return array_of(Tensor::from(values, {static_cast<int64_t>(values.size())})); }

namespace {

std::vector<Statistic> statistics_of(const std::vector<std::string>& names) {
  std::vector<Statistic> out;
  for (const std::string& name : names) {
    if (name == "entropy") {
      out.push_back(entropy);
    } else if (name == "received_attention") {
      out.push_back(received);
    } else if (name == "distance") {
      out.push_back(distance);
    } else if (name == "offsets") {
      out.push_back(offsets);
    } else {
      fail(ErrorCode::kInvalidArgument, "statistics: \"{}\"; expected entropy, received_attention, distance or offsets", name);
    }
  }
  return out;
}

std::vector<int32_t> tags_of(nb::handle given) {
  const Tensor tags = indices_of(given, "matches").contiguous();
  if (tags.dtype() != DType::kI32 || tags.rank() != 1) fail(ErrorCode::kShape, "matches: expected one tag for each token, int [token]");
  return {tags.data<int32_t>(), tags.data<int32_t>() + tags.numel()};
}

}  // namespace

Sweep sweep_of(const std::vector<std::string>& statistics, int64_t top_k, const std::array<int64_t, 2>& cells, const nb::list& matches,
               int64_t offset_reach, const nb::object& heads, int64_t sampled_rows) {
  Sweep out;
  out.request.statistics = statistics_of(statistics);
  out.request.top_k = top_k;
  out.request.cells = cells;
  out.request.offset_reach = offset_reach;
  for (const nb::handle one : matches) out.request.matches.push_back({tags_of(one[0]), tags_of(one[1])});
  if (!heads.is_none()) out.request.heads = range_of(heads, -1, "heads");
  out.options.sampled_rows = sampled_rows;
  return out;
}

nb::dict dict_of(const ReductionResult& found) {
  nb::dict out;
  const std::pair<const char*, const Tensor*> parts[] = {
      {"entropy", &found.entropy},         {"distance", &found.distance}, {"received_attention", &found.received},
      {"offsets", &found.offsets},         {"matches", &found.matches},   {"pooled_max", &found.pooled_max},
      {"pooled_mean", &found.pooled_mean}, {"top_keys", &found.top_keys}, {"top_weights", &found.top_weights}};
  for (const auto& [name, tensor] : parts) {
    if (tensor->defined()) out[name] = array_of(*tensor);
  }
  out["queries"] = array_of(Tensor::from(found.queries, {static_cast<int64_t>(found.queries.size())}));
  out["exact"] = found.exact;
  return out;
}

Tensor weights_of(const Head& head, Range queries, Range keys) {
  const int64_t rows = queries.size(), columns = keys.size();
  Tensor out = Tensor::empty({rows, columns});
  if (out.numel() == 0) return out;
  float* to = out.mutable_data<float>();
  if (head.has_whole_tiles) {
    const Tile tile = head.tile({.queries = queries, .keys = keys});
    std::transform(tile.max.data<float>(), tile.max.data<float>() + out.numel(), to, [](float x) { return std::isnan(x) ? 0.0F : x; });
    return out;
  }
  for (int64_t query = queries.begin; query < queries.end; ++query) {
    const MapRow row = head.row(query);
    to = std::copy_n(row.weights().begin() + keys.begin, columns, to);
  }
  return out;
}

namespace {

// A map over a record that checks before every read that its operands are unchanged.
struct CheckedMap {
  AttentionMap map;
  SharedDigests digests{};
  void check() const {
    if (digests) digests->check_map();
  }
};

Head head_of(const CheckedMap& of, int64_t batch, int64_t head) {
  const AttentionShape shape = of.map.shape();
  batch = place_in("batch", batch, shape.batch);
  head = place_in("head", head, shape.heads);
  const MapHead map = of.map.head(batch, head);
  const auto check = [digests = of.digests, batch, head] {
    if (digests) digests->check_head(batch, head);
  };
  Head out;
  out.row = [map, check](int64_t query) { return check(), map.row(query); };
  out.column = [map, check](int64_t key, Range queries) { return check(), map.column(key, queries); };
  out.tile = [map, check](const TileRequest& request) { return check(), map.tile(request); };
  out.queries = shape.queries;
  out.keys = shape.keys;
  out.name = format("head {} of sequence {}", head, batch);
  const Range kept = of.map.rows_kept();
  out.has_whole_tiles = kept.begin == 0 && kept.end == shape.queries;
  return out;
}

std::string repr_of(const MapRow& row) {
  std::string heaviest;
  for (const Weighted& one : row.top_k(3))
    heaviest += format("{}key {}: {:.3g}", heaviest.empty() ? "; heaviest: " : ", ", one.key, one.weight);
  return format("clearhead.MapRow({} keys{})", row.weights().size(), heaviest);
}

void add_heads(nb::module_& module) {
  nb::class_<Weighted>(module, "Weighted", "A key with its score and weight.")
      .def_ro("key", &Weighted::key, "Index of the key.")
      .def_ro("score", &Weighted::score, "Score after all terms, in natural units (base e).")
      .def_ro("weight", &Weighted::weight, "Attention weight.")
      .def("__repr__", [](const Weighted& one) { return format("key {}: weight {:.6g}, score {:.6g}", one.key, one.weight, one.score); });
  nb::class_<MapRow>(module, "MapRow", "Weights of one query over all keys.")
      .def_prop_ro(
          "weights", [](const MapRow& row) { return floats(row.weights()); }, "Attention weights, f32 [key]; 0 for hidden keys.")
      .def_prop_ro(
          "scores", [](const MapRow& row) { return floats(row.scores()); }, "Scores after all terms, f32 [key]; -inf for hidden keys.")
      .def("top_k", &MapRow::top_k, "count"_a, "Returns the `count` keys with the highest scores as a list of Weighted, highest first.")
      .def("__len__", [](const MapRow& row) { return row.weights().size(); })
      .def("__repr__", &repr_of);
  nb::class_<Head>(
      module, "MapHead",
      "One head of a map. head[query] is a MapRow, head[query, key] a float; see also row, column, to_numpy, pool, to_image and plot.")
      .def("__repr__",
           [](const Head& head) { return format("clearhead.MapHead({}, {} queries x {} keys)", head.name, head.queries, head.keys); })
      .def("__len__", [](const Head& head) { return head.queries; })
      .def(
          "_weights",
          [](const Head& head, const nb::object& queries, const nb::object& keys) {
            const Range rows = range_of(queries, head.queries, "queries"), columns = range_of(keys, head.keys, "keys");
            return array_of(without_gil([&] { return weights_of(head, rows, columns); }));
          },
          "queries"_a = nb::none(), "keys"_a = nb::none())
      .def_prop_ro(
          "shape", [](const Head& head) { return nb::make_tuple(head.queries, head.keys); }, "Shape of the map: (queries, keys).")
      .def(
          "row", [](const Head& head, int64_t query) { return without_gil([&] { return head.row(query); }); }, "query"_a,
          "Returns the MapRow of one query: its weights over all keys.\n\n"
          "Raises NotFoundError for a row that a trace did not keep, InvalidArgumentError for an index out of range.")
      .def(
          "column",
          [](const Head& head, int64_t key, const nb::object& queries) {
            const Range range = range_of(queries, head.queries, "queries");
            return floats(without_gil([&] { return head.column(key, range); }));
          },
          "key"_a, "queries"_a = nb::none(),
          "Returns the weights that one key receives from these queries, f32 [query]. queries: (begin, end), a slice or a single index; "
          "default: all.")
      .def(
          "pool",
          [](const Head& head, const std::array<int64_t, 2>& cells, const nb::object& queries, const nb::object& keys,
             const std::vector<float>& key_factors, const std::vector<float>& row_factors) {
            const TileRequest request{.queries = range_of(queries, head.queries, "queries"),
                                      .keys = range_of(keys, head.keys, "keys"),
                                      .cells = cells,
                                      .key_factors = key_factors,
                                      .row_factors = row_factors};
            const Tile tile = without_gil([&] { return head.tile(request); });
            return nb::make_tuple(array_of(tile.max), array_of(tile.mean));
          },
          "cells"_a, "queries"_a = nb::none(), "keys"_a = nb::none(), nb::kw_only(), "key_factors"_a = std::vector<float>{},
          "row_factors"_a = std::vector<float>{},
          "Pools a region of the map into cells. Returns (largest weight, mean weight) of each cell, f32 [rows, columns].\n\n"
          "A cell is NaN if all its pairs are hidden, and -1 if none was scored. to_numpy() returns weights that are not pooled.\n\n"
          "cells: (rows, columns) of the result; (0, 0) gives one cell per weight. queries, keys: (begin, end), a slice or a single\n"
          "index; default: all. key_factors, row_factors: factors, at least 0, for each key and row of the region, that multiply the\n"
          "weights, for example norms of values.");
}

void add_maps(nb::module_& module) {
  nb::class_<CheckedMap>(module, "_Map")
      .def("__init__",
           [](CheckedMap* self, const CheckedRecord& of) {
             new (self) CheckedMap{AttentionMap(of.record), of.digests};
           })
      .def(
          "head", [](const CheckedMap& of, int64_t batch, int64_t head) { return head_of(of, batch, head); }, "batch"_a, "head"_a)
      .def_prop_ro("shape",
                   [](const CheckedMap& of) {
                     const AttentionShape shape = of.map.shape();
                     return nb::make_tuple(shape.batch, shape.heads, shape.queries, shape.keys);
                   })
      .def_prop_ro("unpinned", [](const CheckedMap& of) { return of.map.unpinned(); })
      .def("after",
           [](const CheckedMap& of) {
             return CheckedMap{of.map.after(), of.digests};
           })
      .def("rounded",
           [](const CheckedMap& of) {
             return CheckedMap{of.map.with(LookPrecision::kAsUsed), of.digests};
           })
      .def_prop_ro("rows_kept", [](const CheckedMap& of) { return nb::make_tuple(of.map.rows_kept().begin, of.map.rows_kept().end); })
      .def(
          "attention_between",
          [](const CheckedMap& of, const nb::object& queries, const nb::object& keys) {
            const AttentionShape shape = of.map.shape();
            const Range rows = range_of(queries, shape.queries, "queries"), columns = range_of(keys, shape.keys, "keys");
            return array_of(without_gil([&] { return of.check(), of.map.mass(rows, columns); }));
          },
          "queries"_a = nb::none(), "keys"_a = nb::none())
      .def(
          "sweep",
          [](const CheckedMap& of, const std::vector<std::string>& statistics, int64_t top_k, const std::array<int64_t, 2>& cells,
             const nb::list& matches, int64_t offset_reach, const nb::object& heads, int64_t sampled_rows) {
            const Sweep sweep = sweep_of(statistics, top_k, cells, matches, offset_reach, heads, sampled_rows);
            return dict_of(without_gil([&] { return of.check(), of.map.reduce(sweep.request, sweep.options); }));
          },
          "statistics"_a = std::vector<std::string>{}, nb::kw_only(), "top_k"_a = 0, "cells"_a = std::array<int64_t, 2>{0, 0},
          "matches"_a = nb::list(), "offset_reach"_a = 64, "heads"_a = nb::none(), "sampled_rows"_a = 0);
}

}  // namespace

void add_looks(nb::module_& module) {
  add_heads(module);
  add_maps(module);
}

}  // namespace clearhead::python
