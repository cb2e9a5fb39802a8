// Words, thumbnails and tables, and the layout of a whole figure. web/src/figure/partsText.ts of the page draws the same.
#include <algorithm>

#include "base/format.h"
#include "viewer/figure/parts.h"

namespace clearhead::viewer::figure {
namespace {

constexpr double kSize = 8, kWord = 9;
constexpr double kPitch = 13;   // line height of words
constexpr double kShare = 9;    // additional height of a line with shares
constexpr double kSpace = 2.8;  // between words
constexpr double kThumb = 36;   // minimum width of a cell of a grid
constexpr double kPad = 4, kGap = 9, kLeading = 10.5;

// Returns true if a text is written from right to left: Hebrew and Arabic.
bool is_from_right(std::string_view text) {
  const auto lead = text.empty() ? uint8_t{0} : static_cast<uint8_t>(text[0]);
  return lead >= 0xD6 && lead <= 0xDD;
}

// A word in its run: whether it touches the word before and the word after.
struct Placed {
  const Word* word = nullptr;
  double begin = 0, wide = 0;
  bool joins = false, joined = false;
};

// Words without a space between them: pieces of one word, or punctuation after it. Lines do not break inside a run.
struct Run {
  std::vector<Placed> words{};
  double width = 0, begin = 0;
  Word::Gap gap = Word::Gap::kNone;
};

struct Line {
  std::vector<Run> runs{};
  double width = 0;
  bool from_right = false;
};

std::vector<Run> runs_of(const std::vector<Word>& words, double most) {
  std::vector<Run> runs;
  for (size_t i = 0; i < words.size(); ++i) {
    const Word& word = words[i];
    const bool joins = i > 0 && word.gap == Word::Gap::kNone;
    const bool joined = i + 1 < words.size() && words[i + 1].gap == Word::Gap::kNone;
    const double own = text_width(word.text, kWord) + (joins ? 0.5 : 1) + (joined ? 0.5 : 1);
    const double wide = std::min(most, std::max(own, word.share.empty() ? 0.0 : text_width(word.share, kSize) + 3));
    if (runs.empty() || !joins || runs.back().width + wide > most) runs.push_back({.gap = word.gap});
    Run& run = runs.back();
    run.words.push_back({&word, run.width, wide, joins, joined});
    run.width += wide;
  }
  return runs;
}

std::vector<Line> lines_of(const Words& words, double width) {
  std::vector<Line> lines(1);
  for (Run& run : runs_of(words.words, width)) {
    const double gap = run.gap == Word::Gap::kSpace ? kSpace : 0;
    const bool breaks = run.gap == Word::Gap::kLine;
    if (!lines.back().runs.empty() && (breaks || lines.back().width + gap + run.width > width)) {
      const bool from_right = !breaks && lines.back().from_right;
      lines.push_back({.from_right = from_right});
    }
    Line& line = lines.back();
    if (line.runs.empty() && !line.from_right) line.from_right = is_from_right(run.words[0].word->text);
    run.begin = line.runs.empty() ? 0 : line.width + gap;
    line.width = run.begin + run.width;
    line.runs.push_back(std::move(run));
  }
  return lines;
}

void draw_word(Drawing& d, const Placed& placed, const Area& box) {
  const Word& word = *placed.word;
  const bool is_shaded = word.strength > 0;
  const Rgb colour = is_shaded ? shade(word.strength) : kPaper;
  if (is_shaded) d.marks.push_back(Box{box, colour, {}});
  if (word.is_special) d.marks.push_back(Box{box, {}, mix(kPaper, kInk, 0.3), 0.5});
  if (word.is_chosen) d.marks.push_back(Box{box, {}, kAccent, 1.25});
  if (word.is_sink) d.marks.push_back(Pointer{box.left + box.width / 2, box.top + 1});
  const Rgb ink = is_shaded ? ink_on(colour) : word.is_hidden ? mix(kPaper, kInk, 0.5) : kInk;
  const bool is_alone = placed.joins == placed.joined;
  d.marks.push_back(Text{.x = is_alone       ? box.left + box.width / 2
                              : placed.joins ? box.left + 0.5
                                             : box.left + box.width - 0.5,
                         .y = box.top + box.height - 3,
                         .text = fitted(word.text, box.width, kWord),
                         .size = kWord,
                         .anchor = is_alone       ? Anchor::kMiddle
                                   : placed.joins ? Anchor::kStart
                                                  : Anchor::kEnd,  // so that the pieces of a word touch
                         .colour = ink});
  double under = box.top + box.height + 0.5;
  for (size_t i = 0; i < word.bars.size(); ++i, under += 2.2) {
    if (word.bars[i] > 0.15) d.marks.push_back(Box{{box.left, under, box.width * (0.12 + 0.88 * word.bars[i]), 1.6}, kPins[i % 6], {}});
  }
  if (word.share.empty()) return;
  d.marks.push_back(Text{.x = box.left + box.width / 2, .y = under + 7.5, .text = word.share, .anchor = Anchor::kMiddle, .colour = kSoft});
}

std::vector<std::string> wrapped(const std::string& text, double width) {
  std::vector<std::string> lines;
  std::string line;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    const std::string longer = line.empty() ? word : line + " " + word;
    if (!line.empty() && text_width(longer, kSize) > width) {
      lines.push_back(line);
      line = word;
    } else {
      line = longer;
    }
    at = end + 1;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

}  // namespace

double place(Drawing& d, const Words& words, Area at) {
  double y = at.top;
  if (!words.title.empty()) {
    d.marks.push_back(Text{.x = at.left, .y = y + 8, .text = fitted(words.title, at.width, kSize), .bold = true});
    y += 14;
  }
  if (std::any_of(words.words.begin(), words.words.end(), [](const Word& word) { return word.is_sink; }))
    y += 4;  // space for the mark above the word
  for (const Line& line : lines_of(words, at.width)) {
    size_t bars = 0;
    bool has_shares = false;
    for (const Run& run : line.runs) {
      for (const Placed& one : run.words) {
        const double from = run.begin + one.begin;
        const double x = line.from_right ? at.left + at.width - from - one.wide : at.left + from;
        draw_word(d, one, {x, y, one.wide, kPitch - 1.5});
        bars = std::max(bars, one.word->bars.size());
        has_shares = has_shares || !one.word->share.empty();
      }
    }
    y += kPitch + 2.2 * static_cast<double>(bars) + (has_shares ? kShare : 0);
  }
  y += place(d, words.legend, {at.left, y + 4, at.width, 0});
  double x = at.left;
  for (size_t i = 0; i < words.bars.size(); ++i) {
    const double wide = 27 + text_width(words.bars[i], kSize);
    if (x > at.left && x + wide > at.left + at.width) {
      x = at.left;
      y += 11;
    }
    d.marks.push_back(Box{{x, y + 8.2, 14, 1.6}, kPins[i % 6], {}});
    d.marks.push_back(Text{.x = x + 17, .y = y + 12, .text = words.bars[i]});
    x += wide;
  }
  return y + (words.bars.empty() ? 0 : 13) + (words.legend.high.empty() ? 0 : 4) - at.top;
}

double place(Drawing& d, const Grid& grid, Area at) {
  const double each = at.width / static_cast<double>(std::max<int64_t>(1, grid.columns));
  const int64_t columns = each >= kThumb ? grid.columns : std::max<int64_t>(1, static_cast<int64_t>(at.width / kThumb));
  const double wide = std::min(72.0, at.width / static_cast<double>(columns)), side = wide - 5;
  bool has_notes = false;
  for (const Thumbnail& cell : grid.cells) has_notes = has_notes || !cell.note.empty();
  const double tall = side + 12 + (has_notes ? 9.5 : 0) + 4;
  for (size_t i = 0; i < grid.cells.size(); ++i) {
    const Thumbnail& cell = grid.cells[i];
    const int64_t column = static_cast<int64_t>(i) % columns, row = static_cast<int64_t>(i) / columns;
    const double x = at.left + wide * static_cast<double>(column);
    const double y = at.top + tall * static_cast<double>(row);
    const Area picture{x, y, side, side};
    float most = 0;
    for (const float value : cell.values) most = std::max(most, std::isnan(value) ? 0.0f : value);
    Pixels pixels{picture, cell.columns, cell.rows, {}};
    for (const float value : cell.values) {
      const Rgb c = std::isnan(value) ? mix(kPaper, kInk, 0.06)
                    : value < 0       ? mix(kPaper, kInk, 0.2)
                                      : shade(intensity(static_cast<double>(value), static_cast<double>(most), Scale::kSqrt));
      pixels.rgb.insert(pixels.rgb.end(), {c.red, c.green, c.blue});
    }
    if (!pixels.rgb.empty()) d.marks.push_back(std::move(pixels));
    d.marks.push_back(Box{picture, {}, cell.is_chosen ? kAccent : mix(kPaper, kInk, 0.4), cell.is_chosen ? 1.25 : 0.5});
    const bool is_shaded = cell.strength >= 0;
    const Rgb colour = is_shaded ? shade(cell.strength) : kPaper;
    if (is_shaded) d.marks.push_back(Box{{x, y + side + 1.5, side, has_notes ? 20.0 : 10.5}, colour, {}});
    const Rgb ink = is_shaded ? ink_on(colour) : kInk;
    d.marks.push_back(Text{.x = x + side / 2, .y = y + side + 9.5, .text = cell.name, .anchor = Anchor::kMiddle, .colour = ink});
    if (!cell.note.empty())
      d.marks.push_back(Text{.x = x + side / 2,
                             .y = y + side + 19,
                             .text = fitted(cell.note, side, kSize),
                             .anchor = Anchor::kMiddle,
                             .colour = is_shaded ? ink : kSoft});
  }
  const auto rows = (static_cast<int64_t>(grid.cells.size()) + columns - 1) / columns;
  double y = at.top + tall * static_cast<double>(rows);
  for (const Legend& legend : grid.legends) y += place(d, legend, {at.left, y + 2, at.width, 0});
  return y - at.top;
}

double place(Drawing& d, const Table& table, Area at) {
  std::vector<double> widths;
  for (const std::string& name : table.head) widths.push_back(text_width(name, kSize));
  for (const auto& row : table.rows) {
    for (size_t c = 0; c < row.size() && c < widths.size(); ++c) widths[c] = std::max(widths[c], text_width(row[c], kSize));
  }
  double y = at.top;
  const auto line = [&](const std::vector<std::string>& cells, Rgb ink, bool bold) {
    double x = at.left;
    for (size_t c = 0; c < cells.size() && c < widths.size(); ++c) {
      const double room = at.left + at.width - x;
      if (room < 12) break;
      d.marks.push_back(Text{.x = x, .y = y + 8, .text = fitted(cells[c], room, kSize), .colour = ink, .bold = bold});
      x += widths[c] + 10;
    }
    y += 11;
  };
  line(table.head, kSoft, false);
  d.marks.push_back(Curve{at.left, y, at.left + at.width, y, mix(kPaper, kInk, 0.4), 0.5});
  y += 2;
  for (const auto& row : table.rows) line(row, kInk, false);
  return y - at.top;
}

Drawing draw(const Figure& figure, double millimetres) {
  Drawing d{.width = millimetres * 72 / 25.4, .title = figure.name, .description = figure.caption + "\n" + figure.command};
  const double width = d.width - 2 * kPad;
  double y = kPad;
  for (const Part& part : figure.parts) y += std::visit([&](const auto& one) { return place(d, one, {kPad, y, width, 0}); }, part) + kGap;
  for (const std::string& line : wrapped(figure.caption, width)) {
    d.marks.push_back(Text{.x = kPad, .y = y + 8, .text = line, .colour = kSoft});
    y += kLeading;
  }
  d.height = y + kPad;
  return d;
}

}  // namespace clearhead::viewer::figure
