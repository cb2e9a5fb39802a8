// clearhead show MODEL TEXT: draws maps and rows in the terminal.
//
//   --head or --layer   the map of one head, or the mean of a layer's heads: word by word up to 64 words, pooled beyond
//   --query             the text shaded by what that token attends to, and its top keys in context, by head or by segment
//   none of these       the ten heads with the strongest atlas scores, and the next command to type
//   --svg, --pdf, --tikz: the same as a figure for print, instead of the terminal
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/atlas.h"
#include "cli/cli.h"
#include "cli/figure.h"
#include "cli/look.h"
#include "cli/terminal.h"
#include "cli/word_map.h"
#include "observe/picture.h"
#include "observe/written_rows.h"
#include "viewer/figure/figures.h"
#include "viewer/questions/head.h"

namespace clearhead::cli {
namespace {

constexpr int64_t kKeys = 8, kTellingHeads = 10;  // how many are printed by default

struct Options {
  TraceArguments look;
  std::string head, query, family, by;  // by: empty is "head"
  int layer = -1;
  std::optional<int64_t> top;
  bool json = false;
  FigureArguments figure;
};

// A ▀ whose foreground has the upper cell's colour and whose background has the lower cell's.
std::string half_blocks(const Terminal& terminal, double upper, double lower) {
  const Rgb above = cividis(static_cast<uint8_t>(upper * 255)), below = cividis(static_cast<uint8_t>(lower * 255));
  switch (terminal.colours) {
    case Colours::kNone: return bar(std::max(upper, lower));
    case Colours::k256: return format("\033[38;5;{};48;5;{}m▀", nearest_256(above), nearest_256(below));
    case Colours::kTrue: break;
  }
  return format("\033[38;2;{};{};{};48;2;{};{};{}m▀", static_cast<int>(above.red), static_cast<int>(above.green),
                static_cast<int>(above.blue), static_cast<int>(below.red), static_cast<int>(below.green), static_cast<int>(below.blue));
}

// The queries and keys that a family's map contains; a family may cover only a section of the text.
struct Area {
  Range queries{}, keys{};
};
Area area_of(const Trace& trace, const std::string& family, const LayerMap& map) {
  const MapFamily& shape = trace.family(family);
  if (!shape.is_part) return {{0, map.queries()}, {0, map.keys()}};
  return {{shape.first_query, shape.first_query + shape.queries}, {shape.first_key, shape.first_key + shape.keys}};
}

// A map pooled into cells: the largest weight for one head, the mean weight for several. f32 [rows, columns]; NaN: hidden,
// −1: never scored.
Tensor cells_of(const LayerMap& map, const Area& area, const std::vector<int64_t>& heads, std::array<int64_t, 2> cells) {
  const TileRequest request{.queries = area.queries, .keys = area.keys, .cells = cells};
  Progress progress("map");
  const auto report = progress.callback();
  Tensor out = Tensor::zeros({cells[0], cells[1]});
  float* to = out.mutable_data<float>();
  for (size_t h = 0; h < heads.size(); ++h) {
    const Tile tile = map.tile(heads[h], request);
    const Tensor& part = heads.size() == 1 ? tile.max : tile.mean;
    const float* from = part.data<float>();
    for (int64_t i = 0; i < out.numel(); ++i) to[i] += from[i] / static_cast<float>(heads.size());
    if (report) report(static_cast<double>(h + 1) / static_cast<double>(heads.size()));
  }
  return out;
}

// Prints a pooled map. Two vertically adjacent cells share one character.
void print_pooled_map(const Terminal& terminal, const LayerMap& map, const Area& area, const WrittenRows& written,
                      const std::vector<int64_t>& heads) {
  const int64_t columns = std::min<int64_t>({area.keys.size(), std::max(8, terminal.width - 10), 96});
  const int64_t rows = std::min<int64_t>(area.queries.size(), columns / 2 * 2);
  const Tensor cells = cells_of(map, area, heads, {rows, columns});
  const float* values = cells.data<float>();
  float largest = 0;
  bool hatched = false;
  for (int64_t i = 0; i < rows * columns; ++i) {
    largest = std::max(largest, std::isnan(values[i]) ? 0.0f : values[i]);
    hatched = hatched || values[i] < 0;
  }
  const auto cell = [&](int64_t r, int64_t c) { return r < rows ? values[r * columns + c] : values[(rows - 1) * columns + c]; };
  const auto at = [&](int64_t r, int64_t c) { return r < rows && cell(r, c) > 0 ? shade(cell(r, c), largest) : 0.0; };
  for (int64_t r = 0; r < rows; r += 2) {
    const int64_t row = area.queries.begin + area.queries.size() * r / rows;
    std::string line = format("{:>8} ", written.named_by(row).value_or(row));
    for (int64_t c = 0; c < columns; ++c) {
      if (cell(r, c) < 0 && cell(r + 1, c) < 0) {
        line += (terminal.colours == Colours::kNone ? "" : "\033[0m") + hatching(1);
      } else {
        line += half_blocks(terminal, at(r, c), at(r + 1, c));
      }
    }
    print(line + (terminal.colours == Colours::kNone ? "" : "\033[0m"));
  }
  print(cut(format("         keys {} to {}", area.keys.begin, area.keys.end - 1), terminal.width));
  print(cut(format("         each cell: the {} of about {} × {} weights{}", heads.size() == 1 ? "largest" : "mean",
                   (area.queries.size() + rows - 1) / rows, (area.keys.size() + columns - 1) / columns,
                   hatched ? "; ╱ never scored, or not kept" : ""),
            terminal.width));
}

void map_json(const Trace& trace, const std::string& family, int layer, const std::vector<int64_t>& heads) {
  const LayerMap map = trace.map(family, layer);
  const Area area = area_of(trace, family, map);
  const int64_t rows = std::min(kWholeMap, area.queries.size()), columns = std::min(kWholeMap, area.keys.size());
  const Tensor cells = cells_of(map, area, heads, {rows, columns});
  Json lines = Json::array();
  for (int64_t r = 0; r < rows; ++r) {
    Json line = Json::array();
    for (int64_t c = 0; c < columns; ++c) {
      const float value = cells.data<float>()[r * columns + c];
      line.push(std::isnan(value) || value < 0 ? Json() : Json(value));
    }
    lines.push(line);
  }
  const bool whole = rows == area.queries.size() && columns == area.keys.size();
  Json out = Json::object({{"model", trace.plan().model},
                           {"family", family},
                           {"layer", layer},
                           {"head", heads.size() == 1 ? Json(heads[0]) : Json()},
                           {"tokens", map.queries()},
                           {"queries", Json(Json::Array{area.queries.begin, area.queries.end})},
                           {"keys", Json(Json::Array{area.keys.begin, area.keys.end})},
                           {"pool", whole ? Json() : Json(heads.size() == 1 ? "max" : "mean")},
                           {"cells", lines}});
  if (const std::optional<int64_t> from = written_rows(trace, trace.family(family)).from) out["writes_from"] = *from;
  if (whole) {
    Json pieces = Json::array();
    for (const std::string& piece : trace.plan().text.pieces) pieces.push(piece);
    out["pieces"] = pieces;
  }
  print_json(out);
}

void show_map(const Options& options, const Trace& trace, const std::string& family, int layer, const std::vector<int64_t>& heads) {
  if (options.json) return map_json(trace, family, layer, heads);
  const LayerMap map = trace.map(family, layer);
  const Area area = area_of(trace, family, map);
  const Words words = map_words(trace, family);
  const WrittenRows written = written_rows(trace, trace.family(family));
  const std::string name = viewer::head_title(trace.family(family), layer, heads.size() == 1 ? heads[0] : viewer::kMean);
  const Terminal screen = terminal();
  const bool all = words_fit(screen, words) && map.rows_kept().size() == 1 && map.rows_kept()[0].size() == area.queries.size();
  const bool is_of_tokens = trace.plan().text.items.empty();
  const std::string tokens = map.queries() == 1 ? "1 token" : with_commas(map.queries()) + " tokens";
  const std::string size = is_of_tokens ? tokens
                                        : format("{} {} × {} keys", with_commas(area.queries.size()),
                                                 area.queries.size() == 1 ? "query" : "queries", with_commas(area.keys.size()));
  print(cut(format("{} · {} · {} · {} · exact", heading_name(trace), family, name, size), screen.width));
  int64_t kept = 0;
  for (const Range& rows : map.rows_kept()) kept += rows.size();
  if (kept < area.queries.size())
    notice(format("query vectors kept: {} of {} tokens; for other rows, trace again with --rows BEGIN:END or a larger --budget",
                  with_commas(kept), with_commas(area.queries.size())));
  if (all) {
    print_words(screen, words, map, heads);
  } else {
    print_pooled_map(screen, map, area, written, heads);
  }
}

// An item's name and its context: the size of the grid of patches, or the text that the item covers.
std::string item_context(const RunText& text, const ItemRange& items, int64_t id) {
  constexpr size_t kMost = 60;  // columns of its text
  const auto [begin, end] = text.offsets[static_cast<size_t>(id)];
  const std::string name = "⟨" + text.pieces[static_cast<size_t>(id)] + "⟩";
  if (items.rows > 0) return format("{} of {}×{}", name, items.rows, (items.end - items.begin) / items.rows);
  const std::string own = text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return own.empty() ? name : name + " " + cut(visible(own), kMost);
}

// The text around a token; the token itself is enclosed in ⟨ and ⟩.
std::string context_of(const RunText& text, int64_t token, int64_t around) {
  const auto bytes = [&](int64_t i) { return text.offsets[static_cast<size_t>(i)]; };
  if (const ItemRange* items = text.items_of(token)) return item_context(text, *items, token);
  if (text.special[static_cast<size_t>(token)] || bytes(token)[0] == bytes(token)[1])
    return "⟨" + text.pieces[static_cast<size_t>(token)] + "⟩";
  int64_t begin = token, end = token + 1;
  const int64_t count = text.tokens();
  while (begin > 0 && token - begin < around && !text.special[static_cast<size_t>(begin - 1)]) --begin;
  while (end < count && end - token <= around && !text.special[static_cast<size_t>(end)]) ++end;
  const auto cut = [&](int64_t from, int64_t to) {
    return visible(std::string_view(text.text).substr(static_cast<size_t>(from), static_cast<size_t>(to - from)));
  };
  return cut(bytes(begin)[0], bytes(token)[0]) + "⟨" + cut(bytes(token)[0], bytes(token)[1]) + "⟩" +
         cut(bytes(token)[1], bytes(end - 1)[1]);
}

// The named parts of the text. If there are none, and the model reads in segments: the memory of the query, and its own segment.
std::vector<TextSegment> parts_of(const Trace& trace, const std::string& family, int64_t query) {
  const MapFamily& shape = trace.family(family);
  const std::vector<TextSegment>& named = trace.plan().text.segments;
  if (!named.empty() || shape.segment_length == 0) return named;
  const int64_t begin = shape.keys_before_segment(query);
  return {{.name = "memory", .begin = 0, .end = begin}, {.name = "own segment", .begin = begin, .end = query + 1}};
}

std::string part_of(const std::vector<TextSegment>& parts, int64_t token) {
  for (const TextSegment& part : parts) {
    if (token >= part.begin && token < part.end) return part.name;
  }
  return "";
}

Json keys_json(const RunText& text, const std::vector<TextSegment>& parts, const std::vector<Weighted>& keys) {
  Json list = Json::array();
  for (const Weighted& key : keys) {
    list.push(Json::object({{"key", key.key},
                            {"token", text.pieces[static_cast<size_t>(key.key)]},
                            {"weight", key.weight},
                            {"score", key.score},
                            {"segment", part_of(parts, key.key)}}));
  }
  return list;
}

// Prints the text, each word shaded by its weight in the row.
void print_shaded_text(const Terminal& screen, const std::vector<Box>& boxes, const MapRow& row) {
  std::vector<float> mass;
  for (const Box& box : boxes) {
    float sum = 0;
    for (int64_t j = box.begin; j < box.end; ++j) {
      const float weight = row.weights()[static_cast<size_t>(j)];
      sum += std::isnan(weight) ? 0 : weight;
    }
    mass.push_back(sum);
  }
  const float largest = mass.empty() ? 0 : *std::max_element(mass.begin(), mass.end());
  std::string line;
  int used = 0;
  for (size_t at = 0; at < boxes.size(); ++at) {
    const std::string word = visible(boxes[at].label);
    const bool breaks = boxes[at].gap.find('\n') != std::string::npos;
    const bool spaced = used > 0 && (!boxes[at].gap.empty() || boxes[at].special || (at > 0 && boxes[at - 1].special));
    const int width = display_width(word) + (screen.colours == Colours::kNone ? 1 : 0);
    if (used > 0 && (breaks || used + spaced + width > screen.width)) {
      print(line);
      line.clear();
      used = 0;
    } else if (spaced) {
      line += " ";
      ++used;
    }
    const double level = shade(mass[at], largest);
    line += screen.colours == Colours::kNone ? word + bar(level) : shaded(screen, word, level);
    used += width;
  }
  print(line);
}

// Prints the weights of patches as an image, two columns per patch.
void print_patches(const Terminal& screen, const ItemRange& items, const MapRow& row) {
  const int64_t columns = (items.end - items.begin) / items.rows;
  const auto from = row.weights().begin() + items.begin, to = row.weights().begin() + items.end;
  const float largest = *std::max_element(from, to);
  if (2 * columns > screen.width || !(largest > 0)) return;
  for (int64_t r = 0; r < items.rows; ++r) {
    std::string line;
    for (int64_t c = 0; c < columns; ++c) {
      const double level = shade(from[r * columns + c], largest);
      line += screen.colours == Colours::kNone ? bar(level) + bar(level) : shaded(screen, "  ", level);
    }
    print(line);
  }
}

// The weight of a row on the sink logit; std::nullopt if the call has no sink logit.
std::optional<double> sink_share(const LayerMap& map, const MapRow& row) {
  if (!has_sink_logit(map)) return {};
  double seen = 0;
  for (const float weight : row.weights()) seen += weight > 0 ? static_cast<double>(weight) : 0.0;
  return std::max(0.0, 1 - seen);
}

void show_row(const Options& options, const Trace& trace, const std::string& family, int layer, int64_t head, int64_t query) {
  const RunText& text = trace.plan().text;
  const LayerMap map = trace.map(family, layer);
  const MapRow row = map.row(head, query);
  const std::vector<Weighted> keys = row.top_k(options.top.value_or(kKeys));
  const std::vector<TextSegment> parts = parts_of(trace, family, query);
  const std::optional<double> sink = sink_share(map, row);
  if (options.json) {
    Json out =
        Json::object({{"family", family}, {"layer", layer}, {"head", head}, {"query", query}, {"keys", keys_json(text, parts, keys)}});
    if (sink) out["sink_logit"] = *sink;
    return print_json(out);
  }
  const Terminal screen = terminal();
  print(cut(format("{} · {} · {} · {} attends to", heading_name(trace), family, head_name(layer, head),
                   row_text(trace, family, query, [&](int64_t id) { return context_of(text, id, 4); })),
            screen.width));
  const std::vector<Box> boxes = boxes_of(text, std::min(map.keys(), text.tokens()));
  const MapFamily& shape = trace.family(family);
  if (!boxes.empty() && boxes.size() <= 400 && (!shape.is_part || shape.first_key < text.tokens())) print_shaded_text(screen, boxes, row);
  for (const ItemRange& items : text.items) {
    if (items.rows > 0 && shape.first_key <= items.begin && items.end <= shape.first_key + shape.keys) print_patches(screen, items, row);
  }
  for (const Weighted& key : keys) {
    const std::string part = part_of(parts, key.key);
    print(cut(
        format("{:>6.2f} %  #{:<7} {}{}", key.weight * 100, key.key, part.empty() ? "" : "[" + part + "] ", context_of(text, key.key, 8)),
        screen.width));
  }
  if (sink && *sink >= 0.00005) print(cut(format("{:>6.2f} %  to a sink logit, which has no value vector", *sink * 100), screen.width));
}

// Prints the weight of a query on each segment, one line per head and segment.
void show_segments(const Options& options, const Trace& trace, const std::string& family, const std::vector<int>& layers,
                   std::optional<int64_t> head, int64_t query) {
  const std::vector<TextSegment> parts = parts_of(trace, family, query);
  if (parts.empty())
    usage_error("--by segment needs named parts of the text: --segments FILE, or --pair; or a model that reads in segments with a memory");
  Json out = Json::array();
  for (const int layer : layers) {
    const LayerMap map = trace.map(family, layer);
    check_scored(map, {query, query + 1}, {0, map.keys()});
    for (const TextSegment& segment : parts) {
      const std::vector<float> mass = map.mass({query, query + 1}, {segment.begin, segment.end});
      for (int64_t h = 0; h < static_cast<int64_t>(mass.size()); ++h) {
        if (head && h != *head) continue;
        out.push(Json::object({{"layer", layer}, {"head", h}, {"segment", segment.name}, {"mass", mass[static_cast<size_t>(h)]}}));
      }
    }
  }
  std::stable_sort(out.items().begin(), out.items().end(),
                   [](const Json& a, const Json& b) { return a.find("mass")->number() > b.find("mass")->number(); });
  if (options.json) return print_json(Json::object({{"family", family}, {"query", query}, {"segments", out}}));
  for (size_t i = 0; i < std::min<size_t>(out.size(), static_cast<size_t>(options.top.value_or(kKeys))); ++i) {
    const Json& item = out.items()[i];
    print(format("{:>6.2f} %  {:<8} {}", item.find("mass")->number() * 100,
                 head_name(static_cast<int>(item.find("layer")->integer()), item.find("head")->integer()), item.find("segment")->string()));
  }
}

// The row of the last token that --query names: the row that wrote it, if the model writes its text.
int64_t query_of(const Options& options, const Trace& trace, const std::string& family) {
  const bool is_number = options.query.find_first_not_of("0123456789") == std::string::npos;
  return rows_of(trace, family, find_span(trace.plan().text, is_number ? "#" + options.query : options.query)).end - 1;
}

// The viewer state (as in the page's address) that corresponds to the options.
std::string state_of(const Options& options, const Trace& trace, const std::string& family, const std::optional<HeadName>& head) {
  std::string state = format("f={}", family);
  if (!options.query.empty()) {
    if (!head && options.layer < 0) {
      usage_error(
          "a figure of what a token attends to needs a head or a layer: add --head, like --head L3.H5, or --layer for the mean of "
          "its heads");
    }
    if (options.by == "segment") usage_error("--by segment prints a list and has no figure");
    state += format("&q={}", query_of(options, trace, family));
  }
  if (head) state += format("&h={}.{}", head->layer, head->head);
  if (!head && options.layer >= 0) state += format("&h={}.mean", options.layer);
  const bool has_head = head || options.layer >= 0;
  if (options.figure.lines && !has_head)
    usage_error("--lines needs a head or a layer: add --head, like --head L3.H5, or --layer for the mean of its heads");
  if (!options.figure.weight.empty()) state += "&w=" + options.figure.weight;
  if (options.figure.offsets && (options.figure.lines || !options.query.empty() || !has_head))
    usage_error("--offsets applies to a map: add --head or --layer, without --query and --lines");
  if (options.figure.offsets) state += "&axes=offset";
  return state + "&v=" + (options.figure.lines ? "lines" : !options.query.empty() ? "read" : has_head ? "map" : "atlas");
}

void write_figures(const Options& options, Trace trace, const std::string& family, const std::optional<HeadName>& head) {
  const std::string state = state_of(options, trace, family, head);
  std::string command = options.look.as_typed("show");
  if (!options.head.empty()) command += " --head " + options.head;
  if (options.layer >= 0) command += format(" --layer {}", options.layer);
  if (!options.query.empty()) command += " --query " + quoted(options.query);
  if (!options.family.empty()) command += " --family " + options.family;
  command += options.figure.as_typed();
  viewer::LoadedTrace::Options shown;
  shown.command = command;
  viewer::LoadedTrace loaded(std::make_shared<Trace>(std::move(trace)), shown);
  Progress progress("figure");
  options.figure.write(viewer::figure::figure_of(loaded, state, {.command = command, .look = {.progress = progress.callback()}}));
}

void run(Options& options) {
  options.figure.check();
  if (options.query.empty() && !options.by.empty()) usage_error("--by lists what one token attends to: add --query");
  if (options.query.empty() && options.top && (!options.head.empty() || options.layer >= 0))
    usage_error("--top applies to a list: add --query, or leave out --head and --layer");
  Trace trace = options.look.trace();
  const std::string family = family_of(trace, options.family);
  std::optional<HeadName> head;
  if (!options.head.empty()) head = parse_head(options.head);
  if (head && options.layer >= 0 && head->layer != options.layer) usage_error("--head and --layer name different layers");
  if (options.layer >= 0) check_layer(trace, family, options.layer);
  if (head) check_head(trace, family, head->layer, head->head);
  if (options.figure.given()) return write_figures(options, std::move(trace), family, head);
  if (!options.query.empty()) {
    const int64_t query = query_of(options, trace, family);
    const std::vector<int> layers = options.layer >= 0 ? std::vector<int>{options.layer} : trace.layers(family);
    if (options.by == "segment") {
      return show_segments(options, trace, family, head ? std::vector<int>{head->layer} : layers,
                           head ? std::optional<int64_t>(head->head) : std::nullopt, query);
    }
    if (head) return show_row(options, trace, family, head->layer, head->head, query);
    return print_top_heads(trace, family, layers, query, options.top.value_or(kKeys), options.json, options.look.as_typed("show"));
  }
  if (head) return show_map(options, trace, family, head->layer, {head->head});
  if (options.layer >= 0) {
    std::vector<int64_t> heads(static_cast<size_t>(trace.map(family, options.layer).heads()));
    for (size_t h = 0; h < heads.size(); ++h) heads[h] = static_cast<int64_t>(h);
    return show_map(options, trace, family, options.layer, heads);
  }
  print_telling_heads(trace, family, options.top.value_or(kTellingHeads), options.json, options.look.as_typed("show"));
}

}  // namespace

void add_show(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("show", "Draw in the terminal what heads attend to");
  command->footer(
      "Examples:\n"
      "  clearhead show MODEL \"The cat sat on the mat.\" --layer 3 --head L3.H5\n"
      "  clearhead show MODEL --file prompt.txt --query \"answer\" --top 8 --by head\n"
      "  clearhead show MODEL \"The cat sat on the mat.\" --head L3.H5 --svg map.svg --pdf map.pdf\n"
      "Without --head, --layer and --query: the ten heads with the strongest atlas scores.\n"
      "Rows are named by the token that they write, if the model writes its text, else by the token that they read.");
  options->look.add(*command);
  command->add_option("--head", options->head, "Draw the map of this head, like L3.H5");
  command->add_option("--layer", options->layer, "Draw the map of this layer, the mean of its heads")->check(whole_from(0));
  command->add_option("--query", options->query,
                      "Print what this token attends to: its index (1204), or a piece of the text. For a token that the\nmodel wrote: what "
                      "the model attended to when it wrote the token");
  command->add_option("--top", options->top, "How many keys, heads or segments to print (default: 8; without --query: 10 heads)")
      ->check(whole_from(1));
  command->add_option("--by", options->by, "With --query: list heads, or segments (default: head)")
      ->check(CLI::IsMember({"head", "segment"}));
  command->add_option("--family", options->family,
                      "Which attention maps, for a model that has several kinds: enc, dec or cross (default: the first)");
  CLI::Option* json = command->add_flag("--json", options->json, "Print JSON");
  options->figure.add(*command, json);
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
