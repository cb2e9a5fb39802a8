// Writes the numbers and the picture of the current view to files that contain the command that recreates them.
#include "viewer/export.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/format.h"
#include "base/number.h"
#include "io/npy.h"
#include "io/png.h"
#include "viewer/figure/figures.h"
#include "viewer/json_text.h"
#include "viewer/parameters.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/ranges.h"
#include "viewer/questions/tiles.h"
#include "viewer/view_state.h"

namespace clearhead::viewer {
namespace {

constexpr int64_t kMostCells = 2048;  // maximum cells per side of an exported rectangle; larger ones are pooled
constexpr int64_t kPictureSide = 1024;

// The row or column of one pinned head.
struct ExportedLine {
  HeadLook at{};
  LineLook look{};
  Line line{};
};

std::vector<ExportedLine> lines_of(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  const bool in = state.direction == "in";
  std::vector<ExportedLine> out;
  for (size_t i = 0; i < std::max<size_t>(1, state.heads.size()); ++i) {
    ExportedLine item;
    item.at = head_of(loaded, state, i);
    item.look.at = item.at;
    item.look.mean = !in;  // like the page: the mean of rows, but the sum of columns
    item.look.ranges = in && !state.keys.empty() ? state.keys : state.queries;
    if (item.look.ranges.empty()) {
      const FamilyFacts& known = loaded.facts(item.at.family);
      if (known.rows.empty()) fail(ErrorCode::kNotFound, "export: this trace has no query vectors, so it has no row to draw.");
      item.look.ranges = {{known.rows.back().end - 1, known.rows.back().end}};
    }
    item.line = in ? questions::column_line(loaded, item.look, options) : questions::row_line(loaded, item.look, options);
    out.push_back(std::move(item));
  }
  return out;
}

Json tokens_json(const RunText& text) {
  Json out = Json::array();
  for (size_t i = 0; i < text.ids.size(); ++i) {
    const auto [begin, end] = text.offsets[i];
    const std::string bytes = end > begin ? text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)) : text.pieces[i];
    Json token = Json::object({{"begin", begin}, {"end", end}, {"id", static_cast<int64_t>(text.ids[i])}, {"text", bytes}});
    if (const ItemRange* items = text.items_of(static_cast<int64_t>(i))) {
      token["item"] = items->kind;
      token["name"] = text.pieces[i];
    }
    out.push(std::move(token));
  }
  return out;
}

// The shown rectangle of the map, and its cells.
struct ExportedMap {
  HeadLook at{};
  Cells cells{};
};

ExportedMap map_of(LoadedTrace& loaded, const ViewState& state, int64_t most, const LookOptions& options) {
  ExportedMap out;
  out.at = head_of(loaded, state, 0);
  if (!loaded.facts(out.at.family).all_rows) questions::tile(loaded, {.at = out.at}, options);  // throws NotKept
  const ShownPart part = part_of(loaded, state, out.at.family);
  out.cells = questions::cells(loaded, {.at = out.at, .z = level_of(part, most), .queries = part.queries, .keys = part.keys}, options);
  return out;
}

Json head_json(const HeadLook& at) {
  return Json::object({{"layer", index_json(at.layer)}, {"head", index_json(at.head)}, {"badge", "exact"}});
}

// The numbers of the map view: the rectangle of one head.
std::string map_text(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  const ExportedMap map = map_of(loaded, state, kMostCells, options);
  Json head = head_json(map.at);
  head["rectangle"] = Json(Json::Array{map.cells.queries.begin, map.cells.queries.end, map.cells.keys.begin, map.cells.keys.end});
  ObjectText cells(Json::object({{"rows", map.cells.rows}, {"columns", map.cells.columns}}));
  cells.add("max", numbers_text(map.cells.max)).add("mean", numbers_text(map.cells.mean));
  return array_text({std::move(ObjectText(head).add("cells", std::move(cells).text())).text()});
}

// The numbers of the atlas: the scores of every head, and the mass if queries and keys are chosen.
Json atlas_json(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(state.family);
  std::string mass;
  if (!state.queries.empty() && !state.keys.empty()) {
    const MassLook asked{state.family, state.queries, state.keys, weight_kind_of(state.weight), sink_rule_of(state.sink)};
    mass = questions::mass(loaded, asked, options).arrays[0].bytes;
  }
  Json heads = Json::array();
  for (const int layer : known.layers) {
    for (int64_t head = 0; head < known.shape.heads; ++head) {
      const HeadStatistics& found = questions::head_statistics(loaded, state.family, layer, head, options);
      Json item = head_json({state.family, layer, head});
      Json scores = Json::object();
      for (size_t s = 0; s < kHeadScores; ++s) {
        scores[head_score_definitions()[s].id] = std::isnan(found.scores.scores[s]) ? Json() : Json(found.scores.scores[s]);
      }
      item["scores"] = std::move(scores);
      item["kind"] = found.scores.kind;
      item["strongest"] = questions::strongest_json(found.scores);
      if (!mass.empty()) item["mass"] = reinterpret_cast<const float*>(mass.data())[layer * known.shape.heads + head];
      heads.push(std::move(item));
    }
  }
  return heads;
}

// The numbers of all other views: a row or column for every pinned head.
std::string lines_text(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  std::vector<std::string> heads;
  for (const ExportedLine& item : lines_of(loaded, state, options)) {
    ObjectText line(
        Json::object({{"of", questions::ranges_json(item.look.ranges)}, {"total", item.line.total}, {"sink_mass", item.line.sink_mass}}));
    line.add("values", numbers_text(item.line.values));
    ObjectText head(head_json(item.at));
    head.add(state.direction == "in" ? "columns" : "rows", std::move(line).text());
    heads.push_back(std::move(head).text());
  }
  return array_text(heads);
}

std::string json_export(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  ObjectText out(Json::object({{"command", loaded.options().command},
                               {"clearhead", loaded.options().version},
                               {"id", loaded.id()},
                               {"name", model_name(loaded.trace().plan())},
                               {"family", state.family},
                               {"view", state.view},
                               {"weight", state.weight},
                               {"sink", state.sink}}));
  if (const std::optional<int64_t> from = loaded.facts(state.family).written.from) out.add("writes_from", Json(*from).dump());
  if (state.view == "map") {
    out.add("heads", map_text(loaded, state, options));
  } else if (state.view == "atlas") {
    out.add("heads", atlas_json(loaded, state, options).dump());
  } else {
    out.add("heads", lines_text(loaded, state, options));
    out.add("tokens", tokens_json(loaded.trace().plan().text).dump());
  }
  return std::move(out).text() + "\n";
}

Tensor numbers_of(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  std::vector<float> values;
  Shape shape;
  if (state.view == "map") {
    const ExportedMap map = map_of(loaded, state, kMostCells, options);
    values = map.cells.max;
    values.insert(values.end(), map.cells.mean.begin(), map.cells.mean.end());
    shape = {2, map.cells.rows, map.cells.columns};
  } else if (state.view == "atlas") {
    const FamilyFacts& known = loaded.facts(state.family);
    values.assign(static_cast<size_t>(known.shape.layers * known.shape.heads) * kHeadScores, std::numeric_limits<float>::quiet_NaN());
    for (const int layer : known.layers) {
      for (int64_t head = 0; head < known.shape.heads; ++head) {
        const HeadStatistics& found = questions::head_statistics(loaded, state.family, layer, head, options);
        std::copy(found.scores.scores.begin(), found.scores.scores.end(),
                  values.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(layer * known.shape.heads + head) * kHeadScores));
      }
    }
    shape = {known.shape.layers, known.shape.heads, static_cast<int64_t>(kHeadScores)};
  } else {
    int64_t count = 0;
    for (const ExportedLine& item : lines_of(loaded, state, options)) {
      values.insert(values.end(), item.line.values.begin(), item.line.values.end());
      ++count;
    }
    shape = {count, static_cast<int64_t>(values.size()) / std::max<int64_t>(1, count)};
  }
  return Tensor::from(values, shape);
}

std::string png_export(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  if (state.view != "map")
    fail(ErrorCode::kUnsupported, "export: the server draws no PNG of the view \"{}\", only of v=map; export it in the page.", state.view);
  const ExportedMap map = map_of(loaded, state, kPictureSide, options);
  const FamilyFacts& known = loaded.facts(map.at.family);
  PictureOptions painted;
  painted.scale = state.scale == "linear" ? Scale::kLinear : state.scale == "log" ? Scale::kLog : Scale::kSqrt;
  painted.cell_pixels = std::max<int64_t>(1, 512 / std::max(map.cells.rows, map.cells.columns));
  for (const int64_t sink : known.sinks) {
    if (sink >= map.cells.keys.begin && sink < map.cells.keys.end)
      painted.marked_columns.push_back((sink - map.cells.keys.begin) >> map.cells.z);
  }
  const Picture picture = paint(Tensor::from(map.cells.max, {map.cells.rows, map.cells.columns}), painted);
  const std::string caption = format(
      "{} · {} {} · queries {} to {} down, keys {} to {} across · {} weights, {} scale, sinks: {} · cell = max of {}² weights",
      model_name(loaded.trace().plan()), map.at.family, head_title(known.shape, map.at.layer, map.at.head), map.cells.queries.begin,
      map.cells.queries.end, map.cells.keys.begin, map.cells.keys.end, state.weight, state.scale, state.sink, int64_t{1} << map.cells.z);
  return io::png_bytes({.width = picture.width, .height = picture.height, .channels = 3, .pixels = picture.rgb},
                       {{"Title", caption}, {"Software", "clearhead " + loaded.options().version}, {"Comment", loaded.options().command}});
}

// The views whose figures and numbers only the page exports, and the requests that their numbers come from.
constexpr std::pair<const char*, const char*> kExportedByPage[] = {
    {"why", "why"}, {"what-if", "what-if"}, {"compare", "compare"}, {"model", "tile"}, {"neuron", "neurons"}};

void check_is_of_the_server(const ViewState& state) {
  for (const auto& [view, request] : kExportedByPage) {
    if (state.view == view)
      fail(ErrorCode::kUnsupported, "export: only the page itself exports the view \"{}\"; its numbers come from api/{}.", view, request);
  }
}

std::string file_name(const LoadedTrace& loaded, const ViewState& state, const char* extension) {
  std::string name;
  for (const char c : model_name(loaded.trace().plan())) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    name += plain ? c : '-';
  }
  return format("{}-{}.{}", name.empty() ? "clearhead" : name.substr(0, 80), state.view, extension);
}

ExportedFile figure_file(LoadedTrace& loaded, const ViewState& shown, const figure::FileFormat& drawn, const std::string& state,
                         const LookOptions& options) {
  const figure::Figure figure = figure::figure_of(loaded, state, {.look = options});
  return {file_name(loaded, shown, drawn.extension), drawn.media_type, figure_bytes(figure, drawn, figure::kPageMillimetres)};
}

}  // namespace

uint64_t parse_budget(const std::string& text) {
  const LeadingNumber read = leading_number(text).value_or(LeadingNumber{});
  std::string unit = text.substr(read.length);
  std::erase(unit, ' ');
  constexpr std::pair<const char*, double> kUnits[] = {
      {"", 1},     {"B", 1},       {"kB", 1e3},       {"KB", 1e3},   {"MB", 1e6},      {"GB", 1e9},        {"k", 1024},
      {"K", 1024}, {"M", 1048576}, {"G", 1073741824}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
  for (const auto& [name, factor] : kUnits) {
    if (unit == name && read.value > 0 && read.value * factor < 1e12) return static_cast<uint64_t>(read.value * factor);
  }
  fail(ErrorCode::kInvalidArgument, "budget: expected a size such as 20MB or 1GiB, found \"{}\".", text);
}

ExportedFile export_file(LoadedTrace& loaded, const std::string& kind, const std::string& state, const std::string& budget,
                         const LookOptions& options) {
  ViewState shown = parse_state(state);
  if (shown.family.empty()) shown.family = loaded.trace().main_family();
  if (kind != "html") check_is_of_the_server(shown);
  if (kind == "json") return {file_name(loaded, shown, "json"), "application/json", json_export(loaded, shown, options)};
  if (kind == "npy") {
    // The command is appended after the array: numpy.load reads one array and ignores what follows.
    return {file_name(loaded, shown, "npy"), "application/octet-stream",
            io::npy_bytes(numbers_of(loaded, shown, options)) + "\n# " + loaded.options().command + "\n"};
  }
  if (kind == "png") return {file_name(loaded, shown, "png"), "image/png", png_export(loaded, shown, options)};
  if (const figure::FileFormat* drawn = figure::file_format(kind)) return figure_file(loaded, shown, *drawn, state, options);
  if (kind == "html") {
    ExportOptions page_options{.command = loaded.options().command + " --html OUT.html", .state = state, .look = options};
    if (!budget.empty()) page_options.budget_bytes = parse_budget(budget);
    ExportedPage page;
    return {file_name(loaded, shown, "html"), "text/html; charset=utf-8", offline_page({&loaded, 1}, page_options, page)};
  }
  fail(ErrorCode::kInvalidArgument, "kind: expected one of html, json, npy, pdf, png, svg, tikz, found \"{}\".", kind);
}

}  // namespace clearhead::viewer
