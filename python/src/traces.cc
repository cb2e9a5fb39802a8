// Bindings of traces and of the maps of their layers.
#include "clearhead/trace.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/atlas.h"
#include "clearhead/error.h"
#include "looks.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

nb::list segments_of(const RunText& text) {
  nb::list out;
  for (const TextSegment& one : text.segments) out.append(nb::make_tuple(one.name, one.role, one.begin, one.end));
  return out;
}

// The map of one layer, with its name and the tokens of its rows and columns.
struct Layer {
  std::shared_ptr<const LayerMap> map;
  std::string family{};
  int number = 0;
  std::string module{};
  Range queries{}, keys{};  // tokens of the trace that its rows and columns stand for
};

Head head_of(const Layer& layer, int64_t head) {
  const auto map = layer.map;
  head = place_in("head", head, map->heads());
  Head out;
  out.row = [map, head](int64_t query) { return map->row(head, query); };
  out.column = [map, head](int64_t key, Range queries) { return map->column(head, key, queries); };
  out.tile = [map, head](const TileRequest& request) { return map->tile(head, request); };
  out.queries = map->queries();
  out.keys = map->keys();
  out.name = format("head {} of layer {} of \"{}\"", head, layer.number, layer.family);
  out.has_whole_tiles = map->whole() && !map->look();
  return out;
}

std::string repr_of(const Layer& layer) {
  std::string out = format("clearhead.LayerMap(layer {} of \"{}\", {} heads, {} queries x {} keys", layer.number, layer.family,
                           layer.map->heads(), layer.map->queries(), layer.map->keys());
  int64_t kept = 0;
  for (const Range& rows : layer.map->rows_kept()) kept += rows.size();
  if (kept < layer.map->queries()) out += format(", {} rows kept", kept);
  if (layer.map->look()) out += ", gradients";
  return out + (layer.module.empty() ? ")" : format(", module {})", layer.module));
}

// If a family covers only a part of the text, the trace's map indexes rows and columns by the tokens of the whole text. This function
// re-indexes them from the family's own first query and key.
LayerMap counted_from_own_first(const LayerMap& map, const MapFamily& family) {
  std::vector<Frame> frames = map.frames();
  for (Frame& frame : frames) {
    frame.queries = {frame.queries.begin - family.first_query, frame.queries.end - family.first_query};
    bool is_whole = static_cast<int64_t>(frame.keys.size()) == family.keys;
    for (size_t key = 0; key < frame.keys.size(); ++key) {
      frame.keys[key] -= family.first_key;
      is_whole = is_whole && frame.keys[key] == static_cast<int64_t>(key);
    }
    if (is_whole) frame.keys.clear();
  }
  return LayerMap(std::move(frames), family.queries, family.keys);
}

Layer layer_of(const Trace& trace, int number, const std::optional<std::string>& named, bool joined) {
  const std::string family = named.value_or(trace.main_family());
  const LayerMap whole = trace.map(family, number);
  const MapFamily& of = trace.family(family);
  Layer out{.map = nullptr, .family = family, .number = number, .module = trace.module_of(family, number)};
  const bool counts_own = of.is_part && !joined;
  out.map = std::make_shared<const LayerMap>(counts_own ? counted_from_own_first(whole, of) : whole);
  const int64_t first_query = counts_own ? of.first_query : 0, first_key = counts_own ? of.first_key : 0;
  out.queries = {first_query, first_query + out.map->queries()};
  out.keys = {first_key, first_key + out.map->keys()};
  return out;
}

// Selects the norms of a family's own keys.
Tensor norms_of_own(const Tensor& norms, const MapFamily& family) {
  return norms.defined() && family.is_part ? norms.slice(2, family.first_key, family.first_key + family.keys) : norms;
}

// Returns the weights of one query in every head, f32 [head, key].
Tensor rows_of(const Layer& layer, int64_t query) {
  const int64_t heads = layer.map->heads(), keys = layer.map->keys();
  Tensor out = Tensor::empty({heads, keys});
  float* to = out.mutable_data<float>();
  for (int64_t head = 0; head < heads; ++head) to = std::ranges::copy(layer.map->row(static_cast<int>(head), query).weights(), to).out;
  return out;
}

// Returns the queries whose outputs the answer depends on: those with a gradient that is not zero in some head.
std::vector<int64_t> gradient_rows_of(const LayerMap& map) {
  std::vector<int64_t> out;
  for (const Frame& frame : map.frames()) {
    const Tensor& gradient = frame.gradient.d_out;  // [1, head, row, d_v]
    if (!gradient.defined()) continue;
    const Tensor rows = gradient.contiguous();
    for (int64_t row = 0; row < rows.size(2); ++row) {
      bool is_reached = false;
      for (int64_t head = 0; head < rows.size(1) && !is_reached; ++head) {
        const float* values = rows.data<float>() + (head * rows.size(2) + row) * rows.size(3);
        is_reached = std::any_of(values, values + rows.size(3), [](float value) { return value != 0; });
      }
      if (is_reached) out.push_back(frame.queries.begin + row);
    }
  }
  return out;
}

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

void add_looks_of_layers(nb::class_<Layer>& type) {
  type.def_prop_ro(
          "heads", [](const Layer& layer) { return layer.map->heads(); }, "Number of heads.")
      .def_prop_ro(
          "queries", [](const Layer& layer) { return layer.map->queries(); },
          "Number of queries, including those whose rows were not kept.")
      .def_prop_ro(
          "keys", [](const Layer& layer) { return layer.map->keys(); }, "Number of keys.")
      .def(
          "_rows", [](const Layer& layer, int64_t query) { return array_of(without_gil([&] { return rows_of(layer, query); })); },
          "query"_a)
      .def("_gradient_rows", [](const Layer& layer) { return gradient_rows_of(*layer.map); })
      .def(
          "has_row", [](const Layer& layer, int64_t query) { return layer.map->has_row(query); }, "query"_a,
          "Returns whether the trace kept the row of this query. row() raises NotFoundError for other rows.")
      .def(
          "gradients",
          [](const Layer& layer, const std::string& show) {
            Layer out = layer;
            out.map = std::make_shared<const LayerMap>(layer.map->with(gradient_look_named(show)));
            return out;
          },
          "show"_a = "product",
          "Returns the same map with gradients instead of weights: the derivative of the answer y (Trace.gradients_of) with respect to\n"
          "each weight P.\n\n"
          "show: \"gradient\" is dy/dP, \"product\" is P * dy/dP, \"for\" is max(0, P * dy/dP), \"against\" is max(0, -P * dy/dP),\n"
          "\"raises\" is max(0, dy/dP), \"lowers\" is max(0, -dy/dP). Rows, columns, pool() and images support it;\n"
          "attention_between() and sweep() do not. Raises NotFoundError if the trace has no gradients.")
      .def_prop_ro(
          "rows_kept",
          [](const Layer& layer) {
            nb::list out;
            for (const Range& range : layer.map->rows_kept()) out.append(nb::make_tuple(range.begin, range.end));
            return out;
          },
          "Ranges (begin, end) of the queries whose rows the trace kept.")
      .def(
          "attention_between",
          [](const Layer& layer, const nb::object& queries, const nb::object& keys) {
            const Range rows = range_of(queries, layer.map->queries(), "queries"), columns = range_of(keys, layer.map->keys(), "keys");
            return floats(without_gil([&] { return layer.map->mass(rows, columns); }));
          },
          "queries"_a = nb::none(), "keys"_a = nb::none(),
          "Mean over `queries` of the weight that falls on `keys`, f32 [head]. Ranges: (begin, end), a slice or a single index.")
      .def(
          "_sweep",
          [](const Layer& layer, const std::vector<std::string>& statistics, int64_t top_k, const std::array<int64_t, 2>& cells,
             const nb::list& matches, int64_t offset_reach, const nb::object& heads, int64_t sampled_rows) {
            const Sweep sweep = sweep_of(statistics, top_k, cells, matches, offset_reach, heads, sampled_rows);
            return dict_of(without_gil([&] { return layer.map->reduce(sweep.request, sweep.options); }));
          },
          "statistics"_a = std::vector<std::string>{}, nb::kw_only(), "top_k"_a = 0, "cells"_a = std::array<int64_t, 2>{0, 0},
          "matches"_a = nb::list(), "offset_reach"_a = 64, "heads"_a = nb::none(), "sampled_rows"_a = 0);
}

void add_layers(nb::module_& module) {
  nb::class_<Layer> type(
      module, "LayerMap",
      "Map of one layer of a trace: map[head] is a MapHead, map[head, query] a MapRow, numpy.asarray(map) all weights.\n\n"
      "Rows and columns are counted from the family's first query and key: in a map of cross-attention, row 0 is the first token\n"
      "of the target and column 0 the first token of the source.");
  type.def("__repr__", &repr_of)
      .def("__len__", [](const Layer& layer) { return layer.map->heads(); })
      .def(
          "head", [](const Layer& layer, int64_t head) { return head_of(layer, head); }, "head"_a,
          "Returns the MapHead of one head. Negative indices count from the end. Raises OutOfRangeError, an IndexError.")
      .def_prop_ro(
          "shape", [](const Layer& layer) { return nb::make_tuple(layer.map->heads(), layer.map->queries(), layer.map->keys()); },
          "Shape of the map: (heads, queries, keys).")
      .def_prop_ro(
          "family", [](const Layer& layer) { return layer.family; }, "Name of the map's family: \"enc\", \"dec\", \"cross\", ...")
      .def_prop_ro(
          "layer", [](const Layer& layer) { return layer.number; }, "Number of the layer.")
      .def_prop_ro(
          "module", [](const Layer& layer) { return layer.module.empty() ? std::nullopt : std::optional(layer.module); },
          "Path of the module that computed the layer, for model.get_submodule(path); None for models of this library.")
      .def_prop_ro(
          "query_range", [](const Layer& layer) { return nb::make_tuple(layer.queries.begin, layer.queries.end); },
          "Range (begin, end) of the tokens that the rows stand for: trace.tokens[begin:end].")
      .def_prop_ro(
          "key_range", [](const Layer& layer) { return nb::make_tuple(layer.keys.begin, layer.keys.end); },
          "Range (begin, end) of the tokens that the columns stand for: trace.tokens[begin:end].");
  add_looks_of_layers(type);
}

void add_layers_of_traces(nb::class_<Trace>& type) {
  type.def_prop_ro(
          "gradients_of",
          [](const Trace& trace) { return trace.gradients_of().empty() ? std::nullopt : std::optional(trace.gradients_of()); },
          "The answer whose gradients the trace keeps (see LayerMap.gradients); None if it keeps none.")
      .def(
          "layers",
          [](const Trace& trace, const std::optional<std::string>& family) { return trace.layers(family.value_or(trace.main_family())); },
          "family"_a = nb::none(), "Numbers of the layers that the trace keeps. family: default: the main one.")
      .def("map", &layer_of, "layer"_a, "family"_a = nb::none(), nb::kw_only(), "joined"_a = false,
           "Returns the LayerMap of a layer. Raises NotFoundError for a layer that was not kept.\n\n"
           "family: name of the map's family; default: the main one. Rows and columns are counted from the family's first query and\n"
           "key (query_range, key_range). With joined=True they are indices into trace.tokens, in which the target of an\n"
           "encoder-decoder follows the source, and items follow tokens.")
      .def(
          "norms",
          [](const Trace& trace, int layer, const std::optional<std::string>& family) {
            const std::string name = family.value_or(trace.main_family());
            const KeyNorms& norms = trace.norms(name, layer);
            const MapFamily& of = trace.family(name);
            return nb::make_tuple(array_of(norms_of_own(norms.value, of)), array_of(norms_of_own(norms.output, of)));
          },
          "layer"_a, "family"_a = nb::none(),
          "Returns (norms of the values v, f32 [batch, key_head, key]; norms of v after the output projection, f32 [batch, head,\n"
          "key]). An entry is None if the run did not compute it.")
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
          "segments"_a,
          "Names ranges of tokens, [(name, begin, end)]. Replaces the segments of the run. Raises InvalidArgumentError for an empty\n"
          "range or one beyond the tokens.")
      .def(
          "atlas",
          [](const Trace& trace, const std::optional<std::string>& family) {
            const std::vector<HeadScores> found = without_gil([&] { return head_atlas(trace, family.value_or(trace.main_family())); });
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
          "family"_a = nb::none(),
          "Classifies heads. Returns a list of dicts, one per head: \"layer\", \"head\", \"kind\" (\"previous\", \"induction\", ...) and "
          "ten scores.");
}

void add_trace(nb::module_& module) {
  nb::class_<Trace> type(module, "Trace",
                         "The attention of one run: its text, and for each layer the queries, the keys and the row statistics, from which "
                         "weights are recomputed.");
  type.def_static(
          "load", [](const std::filesystem::path& path) { return without_gil([&] { return Trace::load(path.string()); }); }, "path"_a,
          "Opens a trace file, memory-mapped. Raises NotFoundError, FormatError.")
      .def(
          "save", [](const Trace& trace, const std::filesystem::path& path) { without_gil([&] { trace.save(path.string()); }); }, "path"_a,
          "Writes the trace to a file, either completely or not at all.")
      .def("__repr__",
           [](const Trace& trace) {
             const RunPlan& plan = trace.plan();
             return format("clearhead.Trace of {} on {} tokens", plan.model, plan.text.ids.size());
           })
      .def_prop_ro("id", &Trace::id, "Hash of the model, the text and the rows. Two traces of the same run have the same id.")
      .def_prop_ro(
          "model", [](const Trace& trace) { return trace.plan().model; }, "Name of the model, as the caller gave it.")
      .def_prop_ro(
          "text", [](const Trace& trace) { return trace.plan().text.text; }, "The text, including generated text.")
      .def_prop_ro(
          "ids", [](const Trace& trace) { return trace.plan().text.ids; }, "Token ids.")
      .def_prop_ro(
          "pieces", [](const Trace& trace) { return trace.plan().text.pieces; },
          "Tokens as the vocabulary spells them, as convert_ids_to_tokens() of transformers returns them.")
      .def_prop_ro("_byte_offsets", [](const Trace& trace) { return trace.plan().text.offsets; })
      .def_prop_ro("_special", [](const Trace& trace) { return trace.plan().text.special; })
      .def_prop_ro("_text_tokens", [](const Trace& trace) { return trace.plan().text.tokens(); })
      .def_prop_ro(
          "generated",
          [](const Trace& trace) {
            nb::list out;
            for (const GeneratedToken& one : trace.generated_tokens()) out.append(nb::make_tuple(one.id, one.piece, one.probability));
            return out;
          },
          "The tokens that were generated after the prompt: [(id, piece, probability)]. A probability is NaN if the watched\n"
          "model returned no logits for the token.")
      .def_prop_ro(
          "segments", [](const Trace& trace) { return segments_of(trace.plan().text); },
          "Named ranges of tokens: [(name, role, begin, end)].")
      .def_prop_ro(
          "families",
          [](const Trace& trace) {
            nb::list out;
            for (const MapFamily& family : trace.plan().families) out.append(family.name);
            return out;
          },
          "Names of the families of maps in the trace, such as \"enc\", \"dec\" and \"cross\".");
  add_layers_of_traces(type);
}

}  // namespace

void add_traces(nb::module_& module) {
  add_layers(module);
  add_trace(module);
}

}  // namespace clearhead::python
