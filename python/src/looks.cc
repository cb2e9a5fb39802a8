// Maps of records and of traces: rows, columns, tiles, masses and sums of exact weights, recomputed when asked for.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <filesystem>

#include <limits>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/atlas.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "clearhead/trace.h"
#include "freely.h"
#include "module.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

using Span = std::pair<int64_t, int64_t>;

int64_t place_of(nb::handle given, const char* name) {
  int64_t out = 0;
  if (nb::isinstance<nb::bool_>(given) || !nb::try_cast(given, out, true)) {
    fail(ErrorCode::kInvalidArgument, "{}: {} is no place; expected (begin, end), a slice, or one number, of whole numbers below 2**63",
         name, nb::cast<std::string>(nb::repr(given)));
  }
  return out;
}

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

nb::object floats(const std::vector<float>& values) { return array_of(Tensor::from(values, {static_cast<int64_t>(values.size())})); }

std::vector<Statistic> statistics_of(const std::vector<std::string>& names) {
  std::vector<Statistic> out;
  for (const std::string& name : names) {
    if (name == "entropy") {
      out.push_back(entropy);
    } else if (name == "received") {
      out.push_back(received);
    } else if (name == "distance") {
      out.push_back(distance);
    } else if (name == "offsets") {
      out.push_back(offsets);
    } else {
      fail(ErrorCode::kInvalidArgument, "statistics: \"{}\"; expected entropy, received, distance or offsets", name);
    }
  }
  return out;
}

// What a sweep is asked for, by keywords.
struct Sweep {
  ReductionRequest request{};
  LookOptions options{};
};

std::vector<int32_t> tags_of(nb::handle given) {
  const Tensor tags = indices_of(given, "matches").contiguous();
  if (tags.dtype() != DType::kI32 || tags.rank() != 1) fail(ErrorCode::kShape, "matches: expected tags of tokens, int [token]");
  return {tags.data<int32_t>(), tags.data<int32_t>() + tags.numel()};
}

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
      {"entropy", &found.entropy},         {"distance", &found.distance}, {"received", &found.received},
      {"offsets", &found.offsets},         {"matches", &found.matches},   {"pooled_max", &found.pooled_max},
      {"pooled_mean", &found.pooled_mean}, {"top_keys", &found.top_keys}, {"top_weights", &found.top_weights}};
  for (const auto& [name, tensor] : parts) {
    if (tensor->defined()) out[name] = array_of(*tensor);
  }
  out["queries"] = array_of(Tensor::from(found.queries, {static_cast<int64_t>(found.queries.size())}));
  out["exact"] = found.exact;
  return out;
}

// One head of a record's map, or of a layer of a trace.
struct Head {
  std::function<MapRow(int64_t)> row;
  std::function<std::vector<float>(int64_t, Range)> column;
  std::function<Tile(const TileRequest&)> tile;
  int64_t queries = 0, keys = 0;
};

Head head_of(const AttentionMap& map, int64_t batch, int64_t head) {
  const MapHead of = map.head(batch, head);
  const AttentionShape shape = map.shape();
  return {[of](int64_t query) { return of.row(query); }, [of](int64_t key, Range queries) { return of.column(key, queries); },
          [of](const TileRequest& request) { return of.tile(request); }, shape.queries, shape.keys};
}

Head head_of(const std::shared_ptr<const LayerMap>& map, int64_t head) {
  if (head < 0 || head >= map->heads()) fail(ErrorCode::kInvalidArgument, "head {}: the layer has {} heads", head, map->heads());
  return {[map, head](int64_t query) { return map->row(head, query); },
          [map, head](int64_t key, Range queries) { return map->column(head, key, queries); },
          [map, head](const TileRequest& request) { return map->tile(head, request); }, map->queries(), map->keys()};
}

void add_heads(nb::module_& module) {
  nb::class_<Weighted>(module, "Weighted", "A key, its score and its weight.")
      .def_ro("key", &Weighted::key, "Which key.")
      .def_ro("score", &Weighted::score, "Its score in natural units, after all terms.")
      .def_ro("weight", &Weighted::weight, "Its weight.")
      .def("__repr__", [](const Weighted& one) { return format("key {}: weight {:.6g}, score {:.6g}", one.key, one.weight, one.score); });
  nb::class_<MapRow>(module, "MapRow", "The weights of one query over all keys.")
      .def_prop_ro(
          "weights", [](const MapRow& row) { return floats(row.weights()); }, "f32 [key]")
      .def_prop_ro(
          "scores", [](const MapRow& row) { return floats(row.scores()); }, "f32 [key], -inf for hidden keys")
      .def("top_k", &MapRow::top_k, "count"_a, "The `count` keys of highest score, best first.")
      .def("__len__", [](const MapRow& row) { return row.weights().size(); });
  nb::class_<Head>(module, "MapHead", "One head of a map: row, column, tile, to_image, plot.")
      .def_prop_ro(
          "shape", [](const Head& head) { return nb::make_tuple(head.queries, head.keys); }, "(queries, keys)")
      .def(
          "row", [](const Head& head, int64_t query) { return freely([&] { return head.row(query); }); }, "query"_a,
          "The weights of one query over all keys, by its place in the text.\n"
          "Raises NotFoundError for a row that a trace did not keep, InvalidArgumentError for one that is not there.")
      .def(
          "column",
          [](const Head& head, int64_t key, const nb::object& queries) {
            const Range range = range_of(queries, head.queries, "queries");
            return floats(freely([&] { return head.column(key, range); }));
          },
          "key"_a, "queries"_a = nb::none(), "Weights of one key over these queries, f32 [query].")
      .def(
          "tile",
          [](const Head& head, const nb::object& queries, const nb::object& keys, const std::array<int64_t, 2>& cells,
             const std::vector<float>& key_factors, const std::vector<float>& row_factors) {
            const TileRequest request{.queries = range_of(queries, head.queries, "queries"),
                                      .keys = range_of(keys, head.keys, "keys"),
                                      .cells = cells,
                                      .key_factors = key_factors,
                                      .row_factors = row_factors};
            const Tile tile = freely([&] { return head.tile(request); });
            return nb::make_tuple(array_of(tile.max), array_of(tile.mean));
          },
          "queries"_a = nb::none(), "keys"_a = nb::none(), "cells"_a = std::array<int64_t, 2>{0, 0}, "key_factors"_a = std::vector<float>{},
          "row_factors"_a = std::vector<float>{},
          "(largest, mean) weights of cells, f32 [rows, columns]; NaN where all is hidden, -1 where nothing was scored.\n"
          "queries, keys: (begin, end), a slice or one number. cells = (0, 0): one cell a weight. Factors, not negative, of each key and\n"
          "row of the tile (norms of values) multiply the weights.");
}

void add_maps(nb::module_& module) {
  nb::class_<AttentionMap>(module, "_Map")
      .def(nb::init<AttentionRecord>())
      .def(
          "head", [](const AttentionMap& map, int64_t batch, int64_t head) { return head_of(map, batch, head); }, "batch"_a, "head"_a)
      .def_prop_ro("shape",
                   [](const AttentionMap& map) {
                     const AttentionShape shape = map.shape();
                     return nb::make_tuple(shape.batch, shape.heads, shape.queries, shape.keys);
                   })
      .def_prop_ro("unpinned", &AttentionMap::unpinned)
      .def("after", &AttentionMap::after)
      .def("as_used", [](const AttentionMap& map) { return map.with(LookPrecision::kAsUsed); })
      .def_prop_ro("rows_kept", [](const AttentionMap& map) { return nb::make_tuple(map.rows_kept().begin, map.rows_kept().end); })
      .def(
          "mass",
          [](const AttentionMap& map, const nb::object& queries, const nb::object& keys) {
            const Range rows = range_of(queries, map.shape().queries, "queries"), columns = range_of(keys, map.shape().keys, "keys");
            return array_of(freely([&] { return map.mass(rows, columns); }));
          },
          "queries"_a = nb::none(), "keys"_a = nb::none())
      .def(
          "sweep",
          [](const AttentionMap& map, const std::vector<std::string>& statistics, int64_t top_k, const std::array<int64_t, 2>& cells,
             const nb::list& matches, int64_t offset_reach, const nb::object& heads, int64_t sampled_rows) {
            const Sweep sweep = sweep_of(statistics, top_k, cells, matches, offset_reach, heads, sampled_rows);
            return dict_of(freely([&] { return map.reduce(sweep.request, sweep.options); }));
          },
          "statistics"_a = std::vector<std::string>{}, nb::kw_only(), "top_k"_a = 0, "cells"_a = std::array<int64_t, 2>{0, 0},
          "matches"_a = nb::list(), "offset_reach"_a = 64, "heads"_a = nb::none(), "sampled_rows"_a = 0);
}

nb::list segments_of(const RunText& text) {
  nb::list out;
  for (const TextSegment& one : text.segments) out.append(nb::make_tuple(one.name, one.role, one.begin, one.end));
  return out;
}

struct Layer {
  std::shared_ptr<const LayerMap> map;
};

GradientLook gradient_look_named(const std::string& name) {
  for (const auto& [known, look] : {std::pair{"gradient", GradientLook::kGradient},
                                    {"product", GradientLook::kProduct},
                                    {"for", GradientLook::kPositive},
                                    {"against", GradientLook::kNegative},
                                    {"raises", GradientLook::kRaises},
                                    {"lowers", GradientLook::kLowers}}) {
    if (name == known) return look;
  }
  fail(ErrorCode::kInvalidArgument, "show: \"{}\"; expected gradient, product, for, against, raises or lowers", name);
}

void add_layers(nb::module_& module) {
  nb::class_<Layer>(module, "LayerMap", "The map of one layer of a trace.")
      .def(
          "head", [](const Layer& layer, int64_t head) { return head_of(layer.map, head); }, "head"_a,
          "One head of it. Raises InvalidArgumentError for one that is not there.")
      .def_prop_ro(
          "heads", [](const Layer& layer) { return layer.map->heads(); }, "Number of heads.")
      .def_prop_ro(
          "queries", [](const Layer& layer) { return layer.map->queries(); }, "Number of queries, kept or not.")
      .def_prop_ro(
          "keys", [](const Layer& layer) { return layer.map->keys(); }, "Number of keys.")
      .def(
          "has_row", [](const Layer& layer, int64_t query) { return layer.map->has_row(query); }, "query"_a,
          "Whether the trace kept this query's row; row() of another raises NotFoundError.")
      .def(
          "gradients",
          [](const Layer& layer, const std::string& show) {
            return Layer{std::make_shared<const LayerMap>(layer.map->with(gradient_look_named(show)))};
          },
          "show"_a = "product",
          "The same map showing how an answer y changes with each weight (Trace.gradients_of), in place of the weight. show: "
          "\"gradient\",\n"
          "dy/dP; \"product\", P * dy/dP; \"for\" and \"against\", what of it is above and below zero, as sizes; \"raises\" and "
          "\"lowers\",\n"
          "the same of dy/dP. Rows, columns, tiles and images have it; mass and sweep do not. Raises NotFoundError where no gradients were "
          "kept.")
      .def_prop_ro(
          "rows_kept",
          [](const Layer& layer) {
            nb::list out;
            for (const Range& range : layer.map->rows_kept()) out.append(nb::make_tuple(range.begin, range.end));
            return out;
          },
          "Ranges (begin, end) of the queries whose rows the trace kept.")
      .def(
          "mass",
          [](const Layer& layer, const nb::object& queries, const nb::object& keys) {
            const Range rows = range_of(queries, layer.map->queries(), "queries"), columns = range_of(keys, layer.map->keys(), "keys");
            return floats(freely([&] { return layer.map->mass(rows, columns); }));
          },
          "queries"_a = nb::none(), "keys"_a = nb::none(), "Mean weight that these rows give to these keys, f32 [head].")
      .def(
          "_sweep",
          [](const Layer& layer, const std::vector<std::string>& statistics, int64_t top_k, const std::array<int64_t, 2>& cells,
             const nb::list& matches, int64_t offset_reach, const nb::object& heads, int64_t sampled_rows) {
            const Sweep sweep = sweep_of(statistics, top_k, cells, matches, offset_reach, heads, sampled_rows);
            return dict_of(freely([&] { return layer.map->reduce(sweep.request, sweep.options); }));
          },
          "statistics"_a = std::vector<std::string>{}, nb::kw_only(), "top_k"_a = 0, "cells"_a = std::array<int64_t, 2>{0, 0},
          "matches"_a = nb::list(), "offset_reach"_a = 64, "heads"_a = nb::none(), "sampled_rows"_a = 0);
}

void add_layers_of_traces(nb::class_<Trace>& type) {
  type.def_prop_ro(
          "gradients_of",
          [](const Trace& trace) { return trace.gradients_of().empty() ? std::nullopt : std::optional(trace.gradients_of()); },
          "What answer the kept gradients are of (LayerMap.gradients); None: none were kept.")
      .def(
          "layers",
          [](const Trace& trace, const std::optional<std::string>& family) { return trace.layers(family.value_or(trace.main_family())); },
          "family"_a = nb::none(), "Numbers of the layers that were kept.")
      .def(
          "map",
          [](const Trace& trace, int layer, const std::optional<std::string>& family) {
            return Layer{std::make_shared<const LayerMap>(trace.map(family.value_or(trace.main_family()), layer))};
          },
          "layer"_a, "family"_a = nb::none(), "The map of a layer. Raises NotFoundError for one that was not kept.")
      .def(
          "norms",
          [](const Trace& trace, int layer, const std::optional<std::string>& family) {
            const KeyNorms& norms = trace.norms(family.value_or(trace.main_family()), layer);
            return nb::make_tuple(array_of(norms.value), array_of(norms.output));
          },
          "layer"_a, "family"_a = nb::none(),
          "Norms of the values v [batch, key_head, key] and of v through the output projection [batch, head, key], f32; None where the "
          "run\n"
          "did not compute them.")
      .def(
          "name_segments",
          [](Trace& trace, const std::vector<std::tuple<std::string, int64_t, int64_t>>& segments) {
            std::vector<TextSegment> named;
            const auto count = static_cast<int64_t>(trace.plan().text.ids.size());
            for (const auto& [name, begin, end] : segments) {
              if (begin < 0 || begin >= end || end > count)
                fail(ErrorCode::kInvalidArgument, "segments: \"{}\" is tokens [{}, {}) of {}", name, begin, end, count);
              named.push_back({name, "document", begin, end});
            }
            trace.set_segments(std::move(named));
          },
          "segments"_a, "Names ranges of tokens, [(name, begin, end)], in place of those of the run.")
      .def(
          "atlas",
          [](const Trace& trace, const std::optional<std::string>& family) {
            const std::vector<HeadScores> found = freely([&] { return head_atlas(trace, family.value_or(trace.main_family())); });
            nb::list out;
            for (const HeadScores& head : found) {
              nb::dict one;
              one["layer"] = head.layer;
              one["head"] = head.head;
              one["kind"] = head.kind;
              for (size_t at = 0; at < kHeadScores; ++at) one[head_score_definitions()[at].id] = head.scores[at];
              out.append(one);
            }
            return out;
          },
          "family"_a = nb::none(), "Ten scores of every head, and the kind that they make it: \"previous\", \"induction\", ...");
}

void add_traces(nb::module_& module) {
  nb::class_<Trace> type(module, "Trace",
                         "What a run keeps for later looks: the text, and of each layer its keys, queries and row statistics.");
  type.def_static(
          "load", [](const std::filesystem::path& path) { return freely([&] { return Trace::load(path.string()); }); }, "path"_a,
          "Opens a trace file, memory-mapped. Raises NotFoundError, FormatError.")
      .def(
          "save", [](const Trace& trace, const std::filesystem::path& path) { freely([&] { trace.save(path.string()); }); }, "path"_a,
          "Writes the complete file or nothing.")
      .def("__repr__",
           [](const Trace& trace) {
             const RunPlan& plan = trace.plan();
             return format("clearhead.Trace of {} on {} tokens", plan.model, plan.text.ids.size());
           })
      .def_prop_ro("id", &Trace::id, "A hash of model, text and rows: two traces of one run agree.")
      .def_prop_ro(
          "model", [](const Trace& trace) { return trace.plan().model; }, "The model, as the caller named it.")
      .def_prop_ro(
          "text", [](const Trace& trace) { return trace.plan().text.text; }, "The text, with what was generated.")
      .def_prop_ro(
          "ids", [](const Trace& trace) { return trace.plan().text.ids; }, "Token ids.")
      .def_prop_ro(
          "tokens", [](const Trace& trace) { return trace.plan().text.pieces; }, "Each token as the vocabulary spells it.")
      .def_prop_ro(
          "generated",
          [](const Trace& trace) {
            nb::list out;
            for (const GeneratedToken& one : trace.generated_tokens()) out.append(nb::make_tuple(one.id, one.piece, one.probability));
            return out;
          },
          "(id, piece, probability) of the tokens that were generated behind the prompt.")
      .def_prop_ro(
          "segments", [](const Trace& trace) { return segments_of(trace.plan().text); }, "(name, role, begin, end) in tokens.")
      .def_prop_ro(
          "families",
          [](const Trace& trace) {
            nb::list out;
            for (const MapFamily& family : trace.plan().families) out.append(family.name);
            return out;
          },
          "Names of the kinds of maps: \"enc\", \"dec\", \"cross\".");
  add_layers_of_traces(type);
}

}  // namespace

void add_looks(nb::module_& module) {
  add_heads(module);
  add_maps(module);
  add_layers(module);
  add_traces(module);
}

}  // namespace clearhead::python
