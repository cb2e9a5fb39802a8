// Figures of maps and the atlas, and the caption that all figures share. Figures of lines and text are in words.cc.
#include "viewer/figure/figures.h"

#include <algorithm>
#include <iterator>

#include "base/format.h"
#include "viewer/figure/pdf.h"
#include "viewer/figure/words.h"
#include "viewer/parameters.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/head_pictures.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/tiles.h"

namespace clearhead::viewer::figure {
namespace {

constexpr int64_t kMostCells = 512;   // per side
constexpr int64_t kMostLabels = 64;   // maximum number of rows or columns with labels
constexpr int64_t kMostNumbers = 24;  // maximum number of rows and columns for which cells show their weights

struct MapCells {
  ShownPart part{};
  Cells cells{};
};

MapCells map_cells(LoadedTrace& loaded, const ViewState& state, const HeadLook& at, const FigureOptions& options) {
  if (!loaded.facts(at.family).all_rows) questions::tile(loaded, {.at = at}, options.look);  // throws NotKept
  MapCells out{.part = part_of(loaded, state, at.family)};
  if (!state.offsets) {
    const CellsLook shown{.at = at, .z = level_of(out.part, kMostCells), .queries = out.part.queries, .keys = out.part.keys};
    out.cells = questions::cells(loaded, shown, options.look);
    return out;
  }
  const OffsetColumns near = questions::offset_columns_of(loaded, at);
  out.part.keys = {-near.back, near.ahead + 1};
  out.cells = questions::near_cells(loaded,
                                    {.at = at,
                                     .z = level_of({out.part.queries, out.part.queries}, kMostCells),
                                     .column_z = level_of({out.part.keys, out.part.keys}, kMostCells),
                                     .queries = out.part.queries,
                                     .offsets = out.part.keys},
                                    options.look);
  return out;
}

Axis keys_of(const RunText& text, Range range, int64_t count, int64_t step) {
  Axis axis{.name = "key", .count = count, .begin = range.begin, .step = step};
  if (step == 1 && count <= kMostLabels) {
    for (int64_t id = range.begin; id < range.end; ++id) axis.labels.push_back(label_of(text, id));
  }
  return axis;
}

Axis queries_of(const RunText& text, const WrittenRows& written, Range range, int64_t count, int64_t step) {
  Axis axis{.name = "query", .count = count, .begin = written.named_by(range.begin).value_or(range.begin), .step = step};
  if (step == 1 && count <= kMostLabels) {
    for (int64_t row = range.begin; row < range.end; ++row) axis.labels.push_back(row_label_of(text, written, row));
  }
  return axis;
}

Axis offsets_of(Range range, int64_t count, int64_t step) {
  Axis axis{.name = "key − query", .count = count, .begin = range.begin, .step = step};
  for (int64_t offset = range.begin; step == 1 && count <= kMostLabels && offset < range.end; ++offset)
    axis.labels.push_back(offset < 0 ? format("−{}", -offset) : format("{}", offset));
  return axis;
}

// Converts ranges of ids to ranges of cells of `step` ids, for the axis that shows the ids `side`.
std::vector<Range> cells_of(const std::vector<Range>& spans, Range side, int64_t step) {
  std::vector<Range> out;
  for (const Range& span : spans) {
    const Range inside{std::max(span.begin, side.begin) - side.begin, std::min(span.end, side.end) - side.begin};
    if (inside.size() > 0) out.push_back({inside.begin / step, (inside.end + step - 1) / step});
  }
  return out;
}

Matrix matrix_of(LoadedTrace& loaded, const ViewState& state, const MapCells& map) {
  const RunText& text = loaded.trace().plan().text;
  const FamilyFacts& known = loaded.facts(state.family);
  const int64_t step = int64_t{1} << map.cells.z, across = map.cells.column_z ? int64_t{1} << *map.cells.column_z : step;
  Matrix out{.rows = queries_of(text, known.written, map.part.queries, map.cells.rows, step),
             .columns = state.offsets ? offsets_of(map.part.keys, map.cells.columns, across)
                                      : keys_of(text, map.part.keys, map.cells.columns, step),
             .values = map.cells.max,
             .scale = scale_of(state),
             .chosen_rows = cells_of(state.queries, map.part.queries, step),
             .chosen_columns = state.offsets ? std::vector<Range>{} : cells_of(state.keys, map.part.keys, step)};
  for (const int64_t sink : state.offsets ? std::vector<int64_t>{} : known.sinks) {
    const int64_t column = (sink - map.part.keys.begin) / step;
    const bool is_inside = sink >= map.part.keys.begin && sink < map.part.keys.end;
    if (is_inside && (out.sinks.empty() || out.sinks.back() != column)) out.sinks.push_back(column);
  }
  float all = 0;
  for (size_t i = 0; i < out.values.size(); ++i) {
    const float value = out.values[i];
    if (std::isnan(value)) continue;
    all = std::max(all, value);
    const auto column = static_cast<int64_t>(i) % map.cells.columns;
    if (!std::binary_search(out.sinks.begin(), out.sinks.end(), column)) out.most = std::max(out.most, value);
  }
  if (!(out.most > 0)) out.most = all;
  if (step == 1 && across == 1 && std::max(map.cells.rows, map.cells.columns) <= kMostNumbers) {
    for (const float value : out.values) out.texts.push_back(cell_text(value));
  }
  out.legend = legend_of(state, static_cast<double>(out.most), static_cast<double>(all));
  out.is_square = !state.offsets;
  return out;
}

Figure map_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options) {
  const HeadLook at = head_of(loaded, state, 0);
  questions::heads_of(loaded, at);  // throws for a head that is not there
  const MapCells map = map_cells(loaded, state, at, options);
  const std::string head = head_title(loaded.facts(at.family).shape, at.layer, at.head);
  std::string what = format("{} × {} weights, queries down, {} across", grouped(map.part.queries.size()), grouped(map.part.keys.size()),
                            state.offsets ? "key − query" : "keys");
  const int across = map.cells.column_z.value_or(map.cells.z);
  if (map.cells.z > 0 || across > 0) what += format(", each cell the largest of {} × {}", int64_t{1} << map.cells.z, int64_t{1} << across);
  if (std::any_of(map.cells.max.begin(), map.cells.max.end(), [](float value) { return value < 0; }))
    what += ", grey where none was scored";
  what += convention_of(loaded.trace().plan().text, loaded.facts(at.family).written);
  Figure out{.name = format("Attention of {}, {}", model_name(loaded.trace().plan()), head),
             .caption = caption_of(loaded, state, head, what)};
  out.parts.emplace_back(matrix_of(loaded, state, map));
  return out;
}

// Thumbnails and sums [layer · heads + head] under a weight kind.
struct Weighted {
  std::vector<HeadPicture> pictures{};
  std::vector<float> sums{};
};

Weighted weighted_heads(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options) {
  const FamilyFacts& known = loaded.facts(state.family);
  Weighted out;
  out.pictures.resize(static_cast<size_t>(known.shape.layers * known.shape.heads));
  out.sums.resize(out.pictures.size());
  const auto take = [&](HeadPicture picture) {
    const auto at = static_cast<size_t>(picture.layer * known.shape.heads + picture.head);
    out.sums[at] = static_cast<float>(picture.sum);
    out.pictures[at] = std::move(picture);  // an exact picture replaces a sampled one
  };
  questions::head_pictures(loaded, {known.shape.name, 0, 0, weight_kind_of(state.weight), sink_rule_of(state.sink)}, take, options.look);
  return out;
}

Figure atlas_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options) {
  const FamilyFacts& known = loaded.facts(state.family);
  const bool is_weighted = weight_kind_of(state.weight) != WeightKind::kRaw;
  const Weighted weighted = is_weighted ? weighted_heads(loaded, state, options) : Weighted{};
  std::vector<float> mass = weighted.sums;
  const bool has_spans = !state.queries.empty() && !state.keys.empty();
  if (has_spans) {
    const MassLook asked{state.family, state.queries, state.keys, weight_kind_of(state.weight), sink_rule_of(state.sink)};
    const ViewFrame frame = questions::mass(loaded, asked, options.look);
    const auto* values = reinterpret_cast<const float*>(frame.arrays[0].bytes.data());
    mass.assign(values, values + frame.arrays[0].bytes.size() / sizeof(float));
  }
  const float most = mass.empty() ? 0 : *std::max_element(mass.begin(), mass.end());
  Grid grid{.columns = known.shape.heads};
  for (size_t at = 0; at < known.layers.size(); ++at) {
    for (int64_t head = 0; head < known.shape.heads; ++head) {
      const auto place = static_cast<size_t>(known.layers[at] * known.shape.heads + head);
      Thumbnail cell{.name = head_name(known.layers[at], head)};
      if (is_weighted) {
        const HeadPicture& picture = weighted.pictures[place];
        cell.rows = picture.rows;
        cell.columns = picture.columns;
        cell.values = picture.cells;
      } else {
        const HeadStatistics& found = questions::head_statistics(loaded, state.family, known.layers[at], head, options.look);
        cell.rows = found.thumbnail_rows;
        cell.columns = found.thumbnail_columns;
        cell.values = found.thumbnail;
        if (const std::vector<NamedScore> named = strongest(found.scores, 1); !named.empty())
          cell.note = format("{} {:.2f}", named[0].id, static_cast<double>(named[0].value));
      }
      if (!mass.empty()) {
        cell.note = weight_text(state, static_cast<double>(mass[place]));
        if (has_spans) cell.strength = most > 0 ? static_cast<double>(mass[place] / most) : 0;
      }
      for (const auto& [layer, number] : state.heads) cell.is_chosen = cell.is_chosen || (layer == known.layers[at] && number == head);
      grid.cells.push_back(std::move(cell));
    }
    if (options.look.progress) options.look.progress(static_cast<double>(at + 1) / static_cast<double>(known.layers.size()));
  }
  grid.legends.push_back({.low = "0", .middle = "25 %", .high = "its largest", .scale = "square root scale", .name = "maps"});
  if (has_spans && most > 0) {
    ViewState linear = state;
    linear.scale = "linear";
    grid.legends.push_back(legend_of(linear, static_cast<double>(most), 0));
    grid.legends.back().name = "names";
  }
  const std::string what =
      has_spans     ? format("mass from {} to {}", rows_text(loaded, known.written, state.queries), spans_text(loaded, state.keys))
      : is_weighted ? "the map of each head, and its sum"
                    : "the map of each head, and its most distinctive score";
  Figure out{.name = format("Heads of {}", model_name(loaded.trace().plan())),
             .caption = caption_of(loaded, state, format("{} × {} heads", known.layers.size(), known.shape.heads), what)};
  out.parts.emplace_back(std::move(grid));
  return out;
}

}  // namespace

std::string caption_of(LoadedTrace& loaded, const ViewState& state, const std::string& heads, const std::string& what) {
  const FamilyFacts& known = loaded.facts(state.family);
  const WeightKind kind = weight_kind_of(state.weight);
  const auto gradients = gradient_look(kind);
  const bool is_product = gradients == GradientLook::kPositive || gradients == GradientLook::kNegative;
  const std::string weights =
      gradients ? format("{} {} ({}∂y/∂P{})", state.weight.substr(0, state.weight.find('-')), loaded.trace().gradients_of(),
                         is_product ? "P·" : "", length_of(kind) == LengthOf::kValue ? "·‖v‖" : "")
                : format("{} weights", state.weight);
  std::string out = format("{} · {} {} · {} · {}", model_name(loaded.trace().plan()), state.family, heads, what, weights);
  if (state.view != "atlas") out += format(", {} scale", scale_name(state));
  if (!known.sinks.empty() && state.direction == "out")
    out += std::string(", attention sinks ") + (state.sink == "mark"   ? "marked (▾)"
                                                : state.sink == "hide" ? "left out"
                                                                       : "left out, rows renormalised");
  return out + " · exact";
}

Figure figure_of(LoadedTrace& loaded, const std::string& address, const FigureOptions& options) {
  ViewState state = parse_state(address);
  if (state.family.empty()) state.family = loaded.trace().main_family();
  Figure out;
  if (state.view == "map") {
    out = map_figure(loaded, state, options);
  } else if (state.view == "atlas") {
    out = atlas_figure(loaded, state, options);
  } else if (state.view == "lines") {
    out = lines_figure(loaded, state, options);
  } else {
    out = text_figure(loaded, state, options);
  }
  out.command = options.command.empty() ? loaded.options().command + " --state '" + address + "'" : options.command;
  return out;
}

const FileFormat* file_format(std::string_view name) {
  static constexpr FileFormat kFormats[] = {{"svg", "svg", "image/svg+xml", svg},
                                            {"pdf", "pdf", "application/pdf", [](const Drawing& drawing) { return pdf(drawing); }},
                                            {"tikz", "tex", "text/x-tex; charset=utf-8", tikz}};
  const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats), [&](const FileFormat& one) { return one.name == name; });
  return found == std::end(kFormats) ? nullptr : found;
}

std::string figure_bytes(const Figure& figure, const FileFormat& drawn, double millimetres) {
  return drawn.bytes(draw(figure, millimetres));
}

}  // namespace clearhead::viewer::figure
