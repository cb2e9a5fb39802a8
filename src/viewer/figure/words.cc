// Figures of lines between tokens, and of the text shaded by a row or column of the map.
#include "viewer/figure/words.h"

#include <algorithm>
#include <set>

#include "base/format.h"
#include "base/utf8.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/tiles.h"

namespace clearhead::viewer::figure {
namespace {

constexpr int64_t kMostTokens = 300;  // maximum number of tokens per column of lines; a longer one is cut to kStretch tokens
constexpr int64_t kStretch = 256;
constexpr size_t kMostCurves = 2000;
constexpr double kFaintest = 0.05;    // minimum intensity, relative to the heaviest: fainter lines cannot be seen
constexpr int64_t kMostWords = 1200;  // maximum number of words; a longer text is cut to the words around the chosen one
constexpr int64_t kTop = 8, kShares = 5;
constexpr int64_t kAround = 6;  // number of tokens on each side that are shown as context

bool continues(std::string_view text, int64_t at) {
  return at < static_cast<int64_t>(text.size()) && continues_character(text[static_cast<size_t>(at)]);
}

// The bytes of a token, extended to whole characters.
Range bytes_of(const RunText& text, int64_t token) {
  auto [begin, end] = text.offsets[static_cast<size_t>(token)];
  if (begin == end) return {begin, end};
  while (begin > 0 && continues(text.text, begin)) --begin;
  while (continues(text.text, end)) ++end;
  return {begin, end};
}

std::string slice(const RunText& text, int64_t begin, int64_t end) {
  return text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(std::max<int64_t>(0, end - begin)));
}

// The text on one line: each run of whitespace becomes a single space.
std::string one_line_of(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool is_blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (!is_blank) out += c;
    if (is_blank && !out.empty() && out.back() != ' ') out += ' ';
  }
  return out;
}

// The queries and the keys that a figure shows: all of them or, beyond kMostTokens, the block of kStretch with the first chosen token.
ShownPart stretch_of(LoadedTrace& loaded, const ViewState& state, const std::string& family) {
  ViewState all = state;
  all.rectangle.clear();
  ShownPart part = part_of(loaded, all, family);
  if (part.queries.size() <= kMostTokens && part.keys.size() <= kMostTokens) return part;
  const std::vector<Range>& chosen = state.direction == "in" ? state.keys : state.queries;
  const int64_t at = chosen.empty() ? part.queries.begin : chosen[0].begin;
  for (Range* side : {&part.queries, &part.keys}) {
    if (side->size() <= kMostTokens) continue;
    const int64_t begin = std::clamp(at / kStretch * kStretch, side->begin / kStretch * kStretch, (side->end - 1) / kStretch * kStretch);
    *side = {std::max(side->begin, begin), std::min(side->end, begin + kStretch)};
  }
  return part;
}

struct Found {
  Lines::Line line{};
  double weight = 0;
};

// The largest weights of a head's cells: `scale` without sinks, which do not set the scale, and `all` with them.
struct Largest {
  double scale = 0, all = 0;
};

Largest largest_of(const Cells& cells, const FamilyFacts& known) {
  Largest out;
  for (int64_t i = 0; i < cells.rows * cells.columns; ++i) {
    const auto value = static_cast<double>(cells.max[static_cast<size_t>(i)]);
    const bool is_sink = std::binary_search(known.sinks.begin(), known.sinks.end(), cells.keys.begin + i % cells.columns);
    if (value > out.all) out.all = value;
    if (!is_sink && value > out.scale) out.scale = value;
  }
  if (!(out.scale > 0)) out.scale = 1;
  return out;
}

// Finds the lines of a head that are strong enough to be seen.
void find_lines(const Cells& cells, double most, Scale scale, int head, std::vector<Found>& into) {
  for (int64_t i = 0; i < cells.rows * cells.columns; ++i) {
    const double weight = static_cast<double>(cells.max[static_cast<size_t>(i)]);
    const double strength = intensity(weight, most, scale);
    if (strength >= kFaintest) into.push_back({{i / cells.columns, i % cells.columns, strength, head}, weight});
  }
}

// Groups tokens that share a character into one box.
std::vector<Range> boxes_of(const RunText& text, Range tokens) {
  std::vector<Range> out;
  int64_t reached = -1;
  for (int64_t i = tokens.begin; i < tokens.end; ++i) {
    const Range bytes = bytes_of(text, i);
    if (bytes.size() > 0 && bytes.begin < reached && !out.empty()) {
      out.back().end = i + 1;
    } else {
      out.push_back({i, i + 1});
    }
    if (bytes.size() > 0) reached = bytes.end;
  }
  return out;
}

bool is_in(const std::vector<Range>& spans, Range box) {
  return std::any_of(spans.begin(), spans.end(), [&](const Range& s) { return s.begin < box.end && box.begin < s.end; });
}

std::string context_of(const RunText& text, int64_t id) {
  if (const ItemRange* items = text.items_of(id); items || text.special[static_cast<size_t>(id)]) {
    const auto [begin, end] = text.offsets[static_cast<size_t>(id)];
    return items ? one_line_of(slice(text, begin, end)) : label_of(text, id);
  }
  const int64_t from = std::max<int64_t>(0, id - kAround), to = std::min(text.tokens(), id + kAround + 1);
  int64_t begin = bytes_of(text, id).begin, end = bytes_of(text, id).end;
  for (int64_t i = from; i < to; ++i) {
    const Range bytes = bytes_of(text, i);
    if (bytes.size() == 0) continue;
    begin = std::min(begin, bytes.begin);
    end = std::max(end, bytes.end);
  }
  return one_line_of(slice(text, begin, end));
}

// The heaviest tokens, heaviest first, except those in `without`.
std::vector<int64_t> heaviest(const std::vector<float>& values, const std::vector<int64_t>& without, int64_t count) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] > 0 && !std::binary_search(without.begin(), without.end(), static_cast<int64_t>(i)))
      order.push_back(static_cast<int64_t>(i));
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min<int64_t>(count, static_cast<int64_t>(order.size())));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(), [&](int64_t a, int64_t b) {
    const float x = values[static_cast<size_t>(a)], y = values[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  });
  order.resize(static_cast<size_t>(kept));
  return order;
}

// A row or a column for each pinned head, the main head first. The values of a column are indexed by rows.
struct Row {
  std::vector<HeadLook> heads{};
  std::vector<Line> lines{};    // as they were read
  std::vector<Line> painted{};  // indexed by the ids that they are painted on: keys, or the ids that rows are named by
  std::vector<double> most{};
  std::vector<Range> of{};
  std::vector<Range> chosen{};  // the ids that `of` are named by
  std::vector<int64_t> sinks{};
  WrittenRows written{};
  bool in = false;
};

// Moves the values of a column from its rows to the ids that the rows are named by. The id that no row is named by gets weight 0.
Line moved_to_names(const Line& line, const WrittenRows& written) {
  if (!written.from) return line;
  Line out = line;
  const auto from = static_cast<size_t>(*written.from), end = std::max(line.values.size(), static_cast<size_t>(written.end));
  out.values.resize(end, 0.0F);
  out.state.resize(end, 2);
  out.values[from] = 0;
  out.state[from] = 1;
  for (size_t row = from; row < line.values.size() && row + 1 < static_cast<size_t>(written.end); ++row) {
    out.values[row + 1] = line.values[row];
    if (row < line.state.size()) out.state[row + 1] = line.state[row];
  }
  return out;
}

Row row_of(LoadedTrace& loaded, const ViewState& state, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(state.family);
  Row out{.written = known.written, .in = state.direction == "in"};
  const bool in = out.in;
  out.of = in ? state.keys : state.queries;
  if (out.of.empty()) {
    if (in || known.rows.empty())
      fail(ErrorCode::kInvalidArgument, "q: a figure of the text needs a query (q=N), or a key with d=in (k=N).");
    out.of = {{known.rows.back().end - 1, known.rows.back().end}};
  }
  if (!in) out.sinks = known.sinks;
  for (size_t i = 0; i < std::max<size_t>(1, state.heads.size()); ++i) {
    out.heads.push_back(head_of(loaded, state, i));
    const LineLook look{.at = out.heads.back(), .ranges = out.of, .mean = !in};  // like the page: the mean of rows, but the sum of columns
    out.lines.push_back(in ? questions::column_line(loaded, look, options) : questions::row_line(loaded, look, options));
    out.painted.push_back(in ? moved_to_names(out.lines.back(), out.written) : out.lines.back());
    float most = 0;
    const std::vector<float>& values = out.lines.back().values;
    for (size_t j = 0; j < values.size(); ++j) {
      if (!std::binary_search(out.sinks.begin(), out.sinks.end(), static_cast<int64_t>(j))) most = std::max(most, values[j]);
    }
    out.most.push_back(static_cast<double>(most));
  }
  for (const Range& range : out.of) out.chosen.push_back(in ? range : out.written.named_by(range));
  return out;
}

double weight_of(const std::vector<float>& values, Range box) {
  double sum = 0;
  for (int64_t t = box.begin; t < std::min<int64_t>(box.end, static_cast<int64_t>(values.size())); ++t)
    sum += static_cast<double>(values[static_cast<size_t>(t)]);
  return sum;
}

Words words_of_row(const RunText& text, const ViewState& state, const Row& row, Range tokens) {
  Words out;
  const std::vector<int64_t> without = state.sink == "mark" ? std::vector<int64_t>{} : row.sinks;
  const std::vector<int64_t> top = heaviest(row.painted[0].values, without, kShares);
  int64_t reached = tokens.begin < text.tokens() ? bytes_of(text, tokens.begin).begin : 0;
  double largest = 0;
  for (const Range& box : boxes_of(text, tokens)) {
    Word word{.text = label_of(text, box.begin), .is_special = text.special[static_cast<size_t>(box.begin)] != 0};
    const Range bytes{bytes_of(text, box.begin).begin, bytes_of(text, box.end - 1).end};
    if (bytes.size() > 0) word.text = label_of(text, box.begin);
    const std::string between = bytes.size() > 0 ? slice(text, reached, bytes.end) : " ";
    const size_t ink = between.find_first_not_of(" \n\t\r");
    const std::string_view blank = std::string_view(between).substr(0, ink == std::string::npos ? between.size() : ink);
    word.gap = blank.find('\n') != std::string_view::npos         ? Word::Gap::kLine
               : blank.empty() && !word.is_special && reached > 0 ? Word::Gap::kNone
                                                                  : Word::Gap::kSpace;
    if (bytes.size() > 0) reached = bytes.end;
    const double weight = weight_of(row.painted[0].values, box);
    word.is_sink = is_in(std::vector<Range>(), box);
    for (const int64_t sink : row.sinks) word.is_sink = word.is_sink || (box.begin <= sink && sink < box.end);
    word.is_chosen = is_in(row.chosen, box);
    const std::vector<uint8_t>& seen = row.painted[0].state;
    word.is_hidden = static_cast<size_t>(box.begin) < seen.size() && seen[static_cast<size_t>(box.begin)] == 0;
    if (!(word.is_sink && state.sink != "mark")) {
      word.strength = intensity(weight, row.most[0], scale_of(state));
      largest = std::max(largest, weight);
    }
    for (const int64_t id : top) {
      if (box.begin <= id && id < box.end) word.share = weight_text(state, weight);
    }
    for (size_t i = 0; row.lines.size() > 1 && i < row.lines.size(); ++i)
      word.bars.push_back(intensity(weight_of(row.painted[i].values, box), row.most[i], scale_of(state)));
    out.words.push_back(std::move(word));
  }
  out.legend = legend_of(state, row.most[0], largest);
  for (size_t i = 0; row.lines.size() > 1 && i < row.lines.size(); ++i) {
    const HeadLook& at = row.heads[i];
    out.bars.push_back(format("{}: bars to {}", head_name(at.layer, at.head), legend_of(state, row.most[i], 0).high));
  }
  return out;
}

double largest_of(const std::vector<float>& values) {
  float most = 0;
  for (const float value : values) most = value > most ? value : most;
  return static_cast<double>(most);
}

// Patches arranged as in the image.
Matrix patches_of(const ItemRange& items, const ViewState& state, const Row& row) {
  const int64_t columns = (items.end - items.begin) / items.rows;
  Matrix out{.rows = {.name = "row of patches", .count = items.rows},
             .columns = {.name = "column", .count = columns},
             .values = {row.painted[0].values.begin() + items.begin, row.painted[0].values.begin() + items.end},
             .most = static_cast<float>(row.most[0]),
             .scale = scale_of(state)};
  for (const float value : out.values) out.texts.push_back(cell_text(value));
  out.legend = legend_of(state, row.most[0], largest_of(out.values));
  return out;
}

// Items that have a name or a text: one row per item, one column per pinned head.
Matrix items_of(const RunText& text, const ItemRange& items, const ViewState& state, const Row& row) {
  Matrix out{.most = static_cast<float>(*std::max_element(row.most.begin(), row.most.end())), .scale = scale_of(state), .is_square = false};
  out.rows.count = items.end - items.begin;
  out.columns.count = static_cast<int64_t>(row.lines.size());
  for (const HeadLook& at : row.heads) out.columns.labels.push_back(head_name(at.layer, at.head));
  for (int64_t id = items.begin; id < items.end; ++id) {
    const auto [begin, end] = text.offsets[static_cast<size_t>(id)];
    out.rows.labels.push_back(end > begin ? one_line_of(slice(text, begin, end)) : label_of(text, id));
    for (const Line& line : row.painted) {
      out.values.push_back(line.values[static_cast<size_t>(id)]);
      out.texts.push_back(cell_text(out.values.back()));
    }
  }
  out.legend = legend_of(state, static_cast<double>(out.most), largest_of(out.values));
  return out;
}

// Only raw weights of a row are shares: columns have no fixed sum, and weighted kinds are not normalised.
bool is_share(const ViewState& state) { return state.weight == "raw" && state.direction != "in"; }

// A share in the format of the page: two decimals from 1 % on, else three digits.
std::string share_text(double value) {
  const double percent = 100 * value;
  return percent >= 1 ? format("{:.2f} %", percent) : format("{:.3g} %", percent);
}

Table top_table(const RunText& text, const ViewState& state, const Row& row) {
  Table out{.head = {"", "token", "context"}};
  const std::vector<int64_t> without = state.sink == "mark" ? std::vector<int64_t>{} : row.sinks;
  for (const int64_t at : heaviest(row.lines[0].values, without, kTop)) {
    const std::optional<int64_t> id = row.in ? row.written.named_by(at) : at;
    const std::string label = id ? label_of(text, *id) : row_label_of(text, row.written, at);
    const std::string name = !id || text.items_of(*id) ? label : format("#{} {}", grouped(*id), label);
    out.rows.push_back(
        {weight_text(state, static_cast<double>(row.lines[0].values[static_cast<size_t>(at)])), name, id ? context_of(text, *id) : label});
  }
  return out;
}

}  // namespace

std::string label_of(const RunText& text, int64_t id) {
  const auto at = static_cast<size_t>(id);
  if (text.items_of(id) || text.special[at]) return text.pieces[at];
  const Range bytes = bytes_of(text, id);
  const std::string own = slice(text, bytes.begin, bytes.end);
  const size_t first = own.find_first_not_of(" \n\t\r");
  if (first != std::string::npos) return own.substr(first, own.find_last_not_of(" \n\t\r") + 1 - first);
  std::string out;
  for (const char c : own) out += c == ' ' ? "␣" : c == '\n' ? "⏎" : c == '\t' ? "⇥" : "␍";
  if (!out.empty()) return out;
  return text.pieces[at].empty() ? "∅" : text.pieces[at];
}

std::string row_label_of(const RunText& text, const WrittenRows& written, int64_t row) {
  const std::optional<int64_t> named = written.named_by(row);
  return named ? label_of(text, *named) : std::string(name_of_unwritten(text, written, row));
}

std::string rows_text(LoadedTrace& loaded, const WrittenRows& written, const std::vector<Range>& rows) {
  const RunText& text = loaded.trace().plan().text;
  const auto name = [&](int64_t row) {
    const std::optional<int64_t> named = written.named_by(row);
    return (named ? format("#{} ", grouped(*named)) : "") + row_label_of(text, written, row);
  };
  std::string out;
  for (const Range& range : rows) {
    out += (out.empty() ? "" : ", ") + name(range.begin);
    if (range.size() > 1) out += " to " + name(range.end - 1);
  }
  const bool all_write = std::all_of(rows.begin(), rows.end(), [&](const Range& range) {
    return written.writes(range.begin) && written.named_by(range.begin) && !text.items_of(range.begin);
  });
  return all_write ? "writing " + out : out;
}

std::string spans_text(LoadedTrace& loaded, const std::vector<Range>& spans) {
  const RunText& text = loaded.trace().plan().text;
  std::string out;
  for (const Range& span : spans) {
    out += out.empty() ? "" : ", ";
    out += format("#{} {}", grouped(span.begin), label_of(text, span.begin));
    if (span.size() > 1) out += format(" to #{} {}", grouped(span.end - 1), label_of(text, span.end - 1));
  }
  return out;
}

std::string grouped(int64_t count) {
  std::string digits = format("{}", count);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string cell_text(float value) {
  if (!(value >= 0)) return "";
  const double v = static_cast<double>(value);
  if (value == 0) return "0";
  if (v >= 10) return format("{:.0f}", v);
  if (v >= 0.001) {
    const std::string text = format("{:.3f}", v);
    return text[0] == '0' ? text.substr(1) : text.substr(0, 4);
  }
  auto power = static_cast<int>(std::floor(std::log10(v)));
  if (v / std::pow(10.0, power) >= 9.5) ++power;  // would round to the next power
  return format("{:.0f}e{}", v / std::pow(10.0, power), power);
}

std::string convention_of(const RunText& text, const WrittenRows& written) {
  if (!written.from) return "";
  const ItemRange* items = text.items_of(*written.from);
  return items ? format(", rows named by the {} that they draw", items->kind) : ", rows named by the token that they write";
}

std::string weight_text(const ViewState& state, double value) {
  if (!is_share(state)) return format("{:.3g}", value);
  const double percent = value * 100;
  if (percent >= 9.95) return format("{:.0f} %", percent);
  return percent >= 0.05 ? format("{:.1f} %", percent) : "<0.1 %";
}

Scale scale_of(const ViewState& state) {
  return state.scale == "linear" ? Scale::kLinear : state.scale == "log" ? Scale::kLog : Scale::kSqrt;
}

std::string scale_name(const ViewState& state) { return state.scale == "sqrt" ? "√" : state.scale; }

Legend legend_of(const ViewState& state, double most, double largest) {
  if (!(most > 0)) return {};
  const Scale scale = scale_of(state);
  const auto number = [&](double value) { return is_share(state) ? share_text(value) : format("{:.5g}", value); };
  const std::string low = scale == Scale::kLog ? "≤ " + number(value_at(0, most, scale)) : "0";
  const char* name = scale == Scale::kLinear ? "linear scale" : scale == Scale::kLog ? "log scale" : "square root scale";
  return {.low = low, .middle = number(value_at(0.5, most, scale)), .high = (largest > most ? "≥ " : "") + number(most), .scale = name};
}

Figure lines_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options) {
  const RunText& text = loaded.trace().plan().text;
  const FamilyFacts& known = loaded.facts(state.family);
  const ShownPart part = stretch_of(loaded, state, state.family);
  std::vector<Found> found;
  Lines lines{.query_name = "query", .key_name = "key"};
  std::string heads;
  for (size_t i = 0; i < std::max<size_t>(1, state.heads.size()); ++i) {
    const HeadLook at = head_of(loaded, state, i);
    questions::heads_of(loaded, at);  // throws for a head that is not there
    if (!known.all_rows) questions::tile(loaded, {.at = at}, options.look);
    const Cells cells = questions::cells(loaded, {.at = at, .queries = part.queries, .keys = part.keys}, options.look);
    const Largest largest = largest_of(cells, known);
    find_lines(cells, largest.scale, scale_of(state), static_cast<int>(i), found);
    heads += (i > 0 ? "; " : "") + head_title(known.shape, at.layer, at.head);
    lines.heads.push_back(legend_of(state, largest.scale, largest.all));
    if (state.heads.size() > 1) lines.heads.back().name = head_name(at.layer, at.head);
  }
  std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return a.line.strength < b.line.strength || (a.line.strength == b.line.strength && a.weight < b.weight);
  });
  if (found.size() > kMostCurves) found.erase(found.begin(), found.end() - kMostCurves);
  lines.asks_keys = state.direction == "in";
  const Range asked = lines.asks_keys ? part.keys : part.queries, other = lines.asks_keys ? part.queries : part.keys;
  std::set<int64_t> chosen;
  for (const Range& span : lines.asks_keys ? state.keys : state.queries) {
    for (int64_t id = std::max(span.begin, asked.begin); id < std::min(span.end, asked.end); ++id) chosen.insert(id - asked.begin);
  }
  lines.chosen.assign(chosen.begin(), chosen.end());
  if (!chosen.empty()) {
    lines.strengths.assign(static_cast<size_t>(other.size()), 0);
    lines.shares.assign(static_cast<size_t>(other.size()), "");
  }
  for (Found& one : found) {
    const int64_t own = lines.asks_keys ? one.line.key : one.line.query, beside = lines.asks_keys ? one.line.query : one.line.key;
    one.line.stands_out = chosen.empty() || chosen.count(own) > 0;
    if (!chosen.empty() && one.line.stands_out && one.line.head == 0) {
      double& strength = lines.strengths[static_cast<size_t>(beside)];
      strength = std::max(strength, one.line.strength);
      if (chosen.size() == 1 && one.line.strength > 0.2) lines.shares[static_cast<size_t>(beside)] = weight_text(state, one.weight);
    }
    lines.lines.push_back(one.line);
  }
  for (int64_t row = part.queries.begin; row < part.queries.end; ++row) lines.queries.push_back(row_label_of(text, known.written, row));
  for (int64_t id = part.keys.begin; id < part.keys.end; ++id) lines.keys.push_back(label_of(text, id));
  const std::string what = format("{} lines, darker and thicker with more weight", grouped(static_cast<int64_t>(lines.lines.size()))) +
                           convention_of(text, known.written);
  Figure out{.name = format("Attention of {}, {}", model_name(loaded.trace().plan()), heads),
             .caption = caption_of(loaded, state, heads, what)};
  out.parts.emplace_back(std::move(lines));
  return out;
}

Figure text_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options) {
  const RunText& text = loaded.trace().plan().text;
  const Row row = row_of(loaded, state, options.look);
  const bool in = state.direction == "in";
  const FamilyFacts& known = loaded.facts(state.family);
  Range side = in ? known.query_range() : known.key_range();
  if (in && known.written.from) side.end = std::max(side.end, known.written.end);
  Figure out;
  Range tokens{side.begin, std::min(side.end, text.tokens())};
  const bool is_long = tokens.size() > kMostWords;
  if (is_long) {
    const int64_t begin = std::clamp(row.chosen[0].begin - kMostWords / 2, tokens.begin, tokens.end - kMostWords);
    tokens = {begin, begin + kMostWords};
  }
  if (tokens.size() > 0) out.parts.emplace_back(words_of_row(text, state, row, tokens));
  for (const ItemRange& items : text.items) {
    if (items.begin < side.begin || items.end > side.end) continue;
    out.parts.emplace_back(items.rows > 0 ? patches_of(items, state, row) : items_of(text, items, state, row));
  }
  out.parts.emplace_back(top_table(text, state, row));
  std::string heads;
  for (size_t i = 0; i < std::max<size_t>(1, state.heads.size()); ++i) {
    const HeadLook at = head_of(loaded, state, i);
    heads += (i > 0 ? "; " : "") + head_title(known.shape, at.layer, at.head);
  }
  std::string what = in ? format("which queries attend to {}", spans_text(loaded, row.of))
                        : format("what {} attends to", rows_text(loaded, row.written, row.of));
  if (is_long) what += format(", tokens {} to {} of {}", grouped(tokens.begin), grouped(tokens.end - 1), grouped(text.tokens()));
  out.name = format("Attention of {}, {}: {}", model_name(loaded.trace().plan()), heads, what);
  out.caption = caption_of(loaded, state, heads, what);
  return out;
}

}  // namespace clearhead::viewer::figure
