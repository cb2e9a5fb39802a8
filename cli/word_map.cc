// Draws a map of words × words as shaded cells. Weights of tokens are aggregated to words; column labels are vertical and truncated
// to the available space. Shade: √(weight / largest). Hidden cells stay empty; cells that were never scored are hatched.
#include "cli/word_map.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/format.h"
#include "cli/cli.h"
#include "cli/look.h"
#include "observe/written_rows.h"

namespace clearhead::cli {
namespace {

constexpr float kHidden = -1, kNeverScored = -2;

}  // namespace

std::vector<std::vector<float>> word_weights(const Words& words, const LayerMap& map, const std::vector<int64_t>& heads) {
  const std::vector<Box>& boxes = words.columns;
  std::vector<std::vector<float>> out;
  for (const Box& query : words.rows) {
    std::vector<float> row(boxes.size(), 0.0f);
    std::vector<float> state(boxes.size(), kNeverScored);
    for (int64_t i = query.begin; i < query.end; ++i) {
      for (const int64_t head : heads) {
        const MapRow look = map.row(head, i);
        const float share = 1.0f / static_cast<float>((query.end - query.begin) * static_cast<int64_t>(heads.size()));
        for (size_t c = 0; c < boxes.size(); ++c) {
          for (int64_t j = boxes[c].begin; j < boxes[c].end; ++j) {
            const size_t key = static_cast<size_t>(j);
            if (std::isnan(look.weights()[key])) continue;
            state[c] = std::max(state[c], std::isinf(look.scores()[key]) ? kHidden : 0.0f);
            row[c] += look.weights()[key] * share;
          }
        }
      }
    }
    for (size_t c = 0; c < boxes.size(); ++c) {
      if (state[c] < 0) row[c] = state[c];
    }
    out.push_back(std::move(row));
  }
  return out;
}

Words map_words(const Trace& trace, const std::string& family) {
  const RunText& text = trace.plan().text;
  const MapFamily& shape = trace.family(family);
  const LayerMap map = trace.map(family, trace.layers(family).at(0));
  const std::vector<Box> boxes = boxes_of(text, map.keys());
  const Range keys = shape.is_part ? Range{shape.first_key, shape.first_key + shape.keys} : Range{0, map.keys()};
  const Range queries = shape.is_part ? Range{shape.first_query, shape.first_query + shape.queries} : Range{0, map.queries()};
  Words out;
  std::copy_if(boxes.begin(), boxes.end(), std::back_inserter(out.columns),
               [&](const Box& box) { return box.begin >= keys.begin && box.end <= keys.end; });
  const WrittenRows written = written_rows(trace, shape);
  for (const Box& box : boxes_of(text, static_cast<int64_t>(text.ids.size()))) {
    const Range rows = written.rows_of({box.begin, box.end});
    const bool has_row = written.from != box.begin || box.end > box.begin + 1;  // no row is named by the token `from`
    if (!has_row || rows.begin < queries.begin || rows.end > queries.end) continue;
    out.rows.push_back(box);
    out.rows.back().begin = rows.begin;
    out.rows.back().end = rows.end;
  }
  if (!written.named_by(queries.end - 1))
    out.rows.push_back({queries.end - 1, queries.end, std::string(name_of_unwritten(text, written, queries.end - 1)), true});
  return out;
}

namespace {

// The first letters of a label; for a label like "sentence 12" also the last ones, where it differs from "sentence 13".
std::vector<std::string> letters_of(const std::string& label, int count) {
  constexpr size_t kTail = 6;
  const size_t most = static_cast<size_t>(count), space = label.rfind(' ');
  std::vector<std::string> out = graphemes(visible(label));
  if (out.size() <= most) return out;
  std::vector<std::string> tail;
  if (space != std::string::npos && space > 0) tail = graphemes(visible(label.substr(space)));
  if (tail.size() > std::min(kTail, most - 1)) tail.clear();
  out.resize(most - tail.size());
  out.insert(out.end(), tail.begin(), tail.end());
  return out;
}

struct Layout {
  int label = 4, header = 1, cell = 1;
  bool has_header = true;  // false if a letter is wider than a column
};

Layout layout_of(const Terminal& terminal, const Words& words) {
  Layout layout;
  int letter = 1;
  for (const Box& box : words.rows) layout.label = std::clamp(display_width(visible(box.label)), layout.label, 14);
  const std::vector<Box>& boxes = words.columns;
  for (const Box& box : boxes) {
    const std::vector<std::string> letters = letters_of(box.label, 8);
    layout.header = std::clamp(static_cast<int>(letters.size()), layout.header, 8);
    for (const std::string& one : letters) letter = std::max(letter, display_width(one));
  }
  const int room = terminal.width - layout.label - 1;
  layout.cell = std::min(room / std::max(1, static_cast<int>(boxes.size())), 4);
  layout.has_header = layout.cell >= letter;
  return layout;
}

// Prints the column names vertically, with the last letter next to the map.
void print_header(const std::vector<Box>& boxes, int label, int header, int cell) {
  std::vector<std::vector<std::string>> letters;
  for (const Box& box : boxes) letters.push_back(letters_of(box.label, header));
  for (int line = 0; line < header; ++line) {
    std::string text(static_cast<size_t>(label + 1), ' ');
    for (const auto& own : letters) {
      const int at = line - (header - static_cast<int>(own.size()));
      text += fit(at >= 0 ? own[static_cast<size_t>(at)] : "", cell, true);
    }
    print(text);
  }
}

std::string cell_text(const Terminal& terminal, float weight, float largest, int width) {
  if (weight == kNeverScored) return hatching(width);
  if (weight == kHidden) return std::string(static_cast<size_t>(width), ' ');
  const std::string number = width >= 4 ? format("{:>3.0f} ", weight * 100) : std::string(static_cast<size_t>(width), ' ');
  if (terminal.colours != Colours::kNone) return shaded(terminal, number, shade(weight, largest));
  return width >= 4 ? number : fit(bar(shade(weight, largest)), width);
}

}  // namespace

double shade(float weight, float largest) { return largest > 0 && weight > 0 ? std::sqrt(static_cast<double>(weight / largest)) : 0; }

std::string hatching(int width) {
  std::string out;
  for (int i = 0; i < width; ++i) out += "╱";
  return out;
}

bool words_fit(const Terminal& terminal, const Words& words) {
  const size_t most = std::max(words.rows.size(), words.columns.size());
  return static_cast<int64_t>(most) <= kWholeMap && layout_of(terminal, words).cell >= 1;
}

void print_words(const Terminal& terminal, const Words& words, const LayerMap& map, const std::vector<int64_t>& heads) {
  const auto cells = word_weights(words, map, heads);
  const Layout layout = layout_of(terminal, words);
  float largest = 0;
  double seen = 0;
  bool hatched = false;
  for (const auto& row : cells) {
    for (const float weight : row) {
      largest = std::max(largest, weight);
      seen += std::max(0.0, static_cast<double>(weight));
      hatched = hatched || weight == kNeverScored;
    }
  }
  if (layout.has_header) print_header(words.columns, layout.label, layout.header, layout.cell);
  for (size_t i = 0; i < words.rows.size(); ++i) {
    std::string line = fit(visible(words.rows[i].label), layout.label, true) + " ";
    for (const float weight : cells[i]) line += cell_text(terminal, weight, largest, layout.cell);
    print(line);
  }
  std::string caption = layout.cell >= 4 ? "in percent; rows attend to columns" : "rows attend to columns, ";
  if (layout.cell < 4) caption += layout.has_header ? "√ scale" : "in the same order as rows; √ scale";
  if (hatched) caption += "; ╱ was never scored";
  const std::string indent(static_cast<size_t>(layout.label + 1), ' ');
  print(cut(indent + caption, terminal.width));
  if (const double sink = 1 - seen / static_cast<double>(cells.size()); has_sink_logit(map) && sink >= 0.005)
    print(cut(indent + format("{:.0f} %{} to a sink logit, which has no value vector", sink * 100,
                              cells.size() == 1 ? " goes" : " of a row goes, on average,"),
              terminal.width));
}

}  // namespace clearhead::cli
