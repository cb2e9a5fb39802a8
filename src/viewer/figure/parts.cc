// Matrices and lines. web/src/figure/parts.ts of the page draws the same elements.
#include "viewer/figure/parts.h"

#include <algorithm>

#include "base/format.h"

namespace clearhead::viewer::figure {
namespace {

constexpr double kSize = 8;           // font size of every label
constexpr double kLabelled = 9;       // minimum size of a cell for its label
constexpr double kNumbered = 19;      // minimum width of a cell for its number
constexpr double kWidest = 22;        // maximum size of a square cell
constexpr double kStretched = 42;     // maximum width of other cells
constexpr double kFlat = 13;          // and their maximum height
constexpr int64_t kMostBoxes = 4096;  // more cells are drawn as one raster image
constexpr double kSlope = 60;         // angle of column labels in degrees
constexpr double kSine = 0.866;
constexpr double kPitch = 11;    // distance between the tokens beside lines
constexpr double kCurves = 180;  // maximum width of the curves
constexpr double kDecades = 4;   // range of the logarithmic scale
const Rgb kHidden = mix(kPaper, kInk, 0.06), kUnscored = mix(kPaper, kInk, 0.2), kFrame = mix(kPaper, kInk, 0.4);

double widest(const std::vector<std::string>& labels) {
  double most = 0;
  for (const std::string& label : labels) most = std::max(most, text_width(label, kSize));
  return most;
}

// The smallest round number (1, 2 or 5 times a power of ten) that is at least `at_least`.
int64_t tick(double at_least) {
  int64_t power = 1;
  while (static_cast<double>(power * 10) <= std::max(1.0, at_least)) power *= 10;
  for (const int64_t m : {1, 2, 5}) {
    if (static_cast<double>(m * power) >= at_least) return m * power;
  }
  return 10 * power;
}

// Space for the marks of sinks, between labels and cells.
double pointers(const Matrix& m) { return m.sinks.empty() ? 0 : 5; }

// The positions of a matrix and its labels.
struct Layout {
  double left = 0, top = 0, wide = 0, tall = 0;
  bool row_labels = false, column_labels = false;
  double label_room = 0, column_room = 0;
  double x(double column) const { return left + column * wide; }
  double y(double row) const { return top + row * tall; }
};

Layout layout_of(const Matrix& m, const Area& at) {
  Layout out;
  const double name = m.rows.name.empty() ? 0 : 11, above = m.columns.name.empty() ? 0 : 11;
  const double rows = static_cast<double>(std::max<int64_t>(1, m.rows.count)),
               columns = static_cast<double>(std::max<int64_t>(1, m.columns.count));
  const double end = m.columns.labels.empty() ? 8 : std::min(30.0, 0.5 * text_width(m.columns.labels.back(), kSize));
  const auto fit = [&](double gutter) {
    out.left = at.left + name + gutter;
    const double room = at.width - name - gutter - end;
    out.wide = m.is_square ? std::min({kWidest, room / columns, 1.25 * at.width / rows}) : std::min(kStretched, room / columns);
    out.tall = m.is_square ? out.wide : std::min(kFlat, std::max(1.0, 1.25 * at.width / rows));
  };
  const auto number = [](const Axis& axis) {
    return std::max(text_width(format("{}", axis.begin), kSize), text_width(format("{}", axis.begin + axis.count * axis.step), kSize)) + 8;
  };
  out.label_room = std::min(widest(m.rows.labels), (m.is_square ? 0.34 : 0.6) * at.width);
  fit(out.label_room + 4);
  out.row_labels = !m.rows.labels.empty() && out.tall >= kLabelled;
  if (!out.row_labels) fit(number(m.rows));
  out.column_labels = !m.columns.labels.empty() && out.wide >= kLabelled;
  out.column_room = (out.column_labels ? std::min(64.0, widest(m.columns.labels) * kSine + 8) : 14) + pointers(m);
  out.top = at.top + above + out.column_room;
  return out;
}

Rgb colour_of(const Matrix& m, float value) {
  if (std::isnan(value)) return kHidden;
  if (value < 0) return kUnscored;
  return shade(intensity(static_cast<double>(value), static_cast<double>(m.most), m.scale));
}

bool is_same(Rgb a, Rgb b) { return a.red == b.red && a.green == b.green && a.blue == b.blue; }

void draw_cells(Drawing& d, const Matrix& m, const Layout& l) {
  const int64_t rows = m.rows.count, columns = m.columns.count;
  const Area all{l.left, l.top, l.wide * static_cast<double>(columns), l.tall * static_cast<double>(rows)};
  if (rows * columns > kMostBoxes) {
    Pixels picture{all, columns, rows, {}};
    for (const float value : m.values) {
      const Rgb c = colour_of(m, value);
      picture.rgb.insert(picture.rgb.end(), {c.red, c.green, c.blue});
    }
    d.marks.push_back(std::move(picture));
    return;
  }
  d.marks.push_back(Box{all, kHidden, {}});
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns;) {
      const Rgb colour = colour_of(m, m.values[static_cast<size_t>(r * columns + c)]);
      int64_t end = c + 1;
      while (end < columns && is_same(colour_of(m, m.values[static_cast<size_t>(r * columns + end)]), colour)) ++end;
      if (!is_same(colour, kHidden)) {
        const Area run{l.x(static_cast<double>(c)), l.y(static_cast<double>(r)), l.wide * static_cast<double>(end - c), l.tall};
        d.marks.push_back(Box{run, colour, {}});
      }
      c = end;
    }
  }
  if (m.texts.empty() || l.wide < kNumbered || l.tall < kLabelled) return;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const auto at = static_cast<size_t>(r * columns + c);
      const Rgb ink = ink_on(colour_of(m, m.values[at]));
      d.marks.push_back(Text{.x = l.x(static_cast<double>(c) + 0.5),
                             .y = l.y(static_cast<double>(r) + 0.5) + 2.8,
                             .text = m.texts[at],
                             .anchor = Anchor::kMiddle,
                             .colour = ink});
    }
  }
}

void draw_axes(Drawing& d, const Matrix& m, const Layout& l, const Area& at) {
  const double right = l.x(static_cast<double>(m.columns.count)), bottom = l.y(static_cast<double>(m.rows.count));
  const auto stroke = [&](double x0, double y0, double x1, double y1) { d.marks.push_back(Curve{x0, y0, x1, y1, kFrame}); };
  if (!m.columns.name.empty())
    d.marks.push_back(Text{.x = (l.left + right) / 2, .y = at.top + 8, .text = m.columns.name, .anchor = Anchor::kMiddle, .colour = kSoft});
  if (!m.rows.name.empty())
    d.marks.push_back(
        Text{.x = at.left + 8, .y = (l.top + bottom) / 2, .text = m.rows.name, .anchor = Anchor::kMiddle, .colour = kSoft, .turn = 90});
  if (l.row_labels) {
    for (int64_t r = 0; r < m.rows.count; ++r)
      d.marks.push_back(Text{.x = l.left - 4,
                             .y = l.y(static_cast<double>(r) + 0.5) + 2.8,
                             .text = fitted(m.rows.labels[static_cast<size_t>(r)], l.label_room, kSize),
                             .anchor = Anchor::kEnd});
  }
  if (l.column_labels) {
    for (int64_t c = 0; c < m.columns.count; ++c)
      d.marks.push_back(Text{.x = l.x(static_cast<double>(c) + 0.5) + 2,
                             .y = l.top - 3 - pointers(m),
                             .text = fitted(m.columns.labels[static_cast<size_t>(c)], (l.column_room - pointers(m) - 8) / kSine + 1, kSize),
                             .turn = kSlope});
  }
  const auto ticks = [&](const Axis& axis, double cell, const auto& put) {
    const int64_t every = tick(36 / cell * static_cast<double>(axis.step));
    const int64_t first = axis.begin >= 0 ? (axis.begin + every - 1) / every * every : -(-axis.begin / every * every);
    for (int64_t value = first; value < axis.begin + axis.count * axis.step; value += every)
      put(static_cast<double>(value - axis.begin) / static_cast<double>(axis.step), format("{}", value));
  };
  if (!l.row_labels) {
    ticks(m.rows, l.tall, [&](double place, const std::string& text) {
      stroke(l.left - 3, l.y(place), l.left, l.y(place));
      d.marks.push_back(Text{.x = l.left - 5, .y = l.y(place) + 2.8, .text = text, .anchor = Anchor::kEnd});
    });
  }
  if (!l.column_labels) {
    ticks(m.columns, l.wide, [&](double place, const std::string& text) {
      stroke(l.x(place), l.top - 3, l.x(place), l.top);
      d.marks.push_back(Text{.x = l.x(place), .y = l.top - 5 - pointers(m), .text = text, .anchor = Anchor::kMiddle});
    });
  }
  d.marks.push_back(Box{{l.left, l.top, right - l.left, bottom - l.top}, {}, kFrame, 0.5});
  for (const int64_t sink : m.sinks) d.marks.push_back(Pointer{l.x(static_cast<double>(sink) + 0.5), l.top});
  for (const Range& rows : m.chosen_rows)
    d.marks.push_back(
        Box{{l.left, l.y(static_cast<double>(rows.begin)), right - l.left, l.tall * static_cast<double>(rows.size())}, {}, kAccent, 1});
  for (const Range& columns : m.chosen_columns)
    d.marks.push_back(Box{
        {l.x(static_cast<double>(columns.begin)), l.top, l.wide * static_cast<double>(columns.size()), bottom - l.top}, {}, kAccent, 1});
}

}  // namespace

double intensity(double value, double most, Scale scale) {
  if (!(value > 0) || !(most > 0)) return 0;
  const double t = std::min(1.0, value / most);
  if (scale == Scale::kLinear) return t;
  if (scale == Scale::kSqrt) return std::sqrt(t);
  return std::max(0.0, 1 + std::log10(t) / kDecades);
}

double value_at(double t, double most, Scale scale) {
  if (scale == Scale::kLinear) return most * t;
  if (scale == Scale::kSqrt) return most * t * t;
  return most * std::pow(10.0, kDecades * (t - 1));
}

double place(Drawing& d, const Matrix& m, Area at) {
  const Layout l = layout_of(m, at);
  draw_cells(d, m, l);
  draw_axes(d, m, l, at);
  const double bottom = l.y(static_cast<double>(m.rows.count));
  return bottom + 5 + place(d, m.legend, {at.left, bottom + 5, at.width, 0}, l.left - at.left) - at.top;
}

// The opacity of a line: in the foreground, or in the background behind the lines of the chosen tokens.
static double opacity_of(double strength, bool stands_out, bool is_asked) {
  if (!stands_out) return 0.05 + 0.08 * strength;
  return is_asked ? 0.25 + 0.75 * strength : 0.08 + 0.82 * strength;
}

// The legends below the lines: one for the shaded tokens, then one for the lines of each head, drawn in the head's style.
static double place_bars(Drawing& d, const Lines& lines, Area at) {
  const double top = at.top;
  const bool is_asked = !lines.chosen.empty();
  if (!lines.strengths.empty() && !lines.heads.empty()) at.top += place(d, lines.heads[0], at);
  for (size_t i = 0; i < lines.heads.size(); ++i) {
    const auto swatch = [&](const Area& area, double t) -> Mark {
      const double y = area.top + area.height / 2;
      return Curve{area.left, y, area.left + area.width, y, kPins[i % 6], 0.4 + 2 * t, opacity_of(t, true, is_asked)};
    };
    at.top += place(d, lines.heads[i], at, 0, swatch);
  }
  return at.top - top;
}

double place(Drawing& d, const Lines& lines, Area at) {
  const double queries = std::min(0.38 * at.width, std::max(widest(lines.queries), text_width(lines.query_name, kSize)));
  double shares = lines.shares.empty() ? 0 : widest(lines.shares) + 6;
  const double keys = std::min(0.38 * at.width - shares, std::max(widest(lines.keys), text_width(lines.key_name, kSize)));
  const double from = at.left + queries + 6;
  const double to = std::min(from + kCurves, at.left + at.width - keys - shares - 6);
  const double top = at.top + 13;
  const auto y = [&](int64_t place) { return top + (static_cast<double>(place) + 0.5) * kPitch; };
  d.marks.push_back(Text{.x = from - 4, .y = at.top + 8, .text = lines.query_name, .anchor = Anchor::kEnd, .colour = kSoft});
  d.marks.push_back(Text{.x = to + 4, .y = at.top + 8, .text = lines.key_name, .colour = kSoft});
  const bool is_asked = !lines.chosen.empty();
  for (const bool stands_out : {false, true}) {
    for (const Lines::Line& line : lines.lines) {
      if (line.stands_out != stands_out) continue;
      const double opacity = opacity_of(line.strength, stands_out, is_asked);
      d.marks.push_back(Curve{from, y(line.query), to, y(line.key), kPins[line.head % 6], 0.4 + 2 * line.strength, opacity, true});
    }
  }
  const auto token = [&](bool is_key, int64_t place, const std::string& label, double room) {
    const std::string text = fitted(label, room, kSize);
    const double width = text_width(text, kSize), left = is_key ? to + 4 : from - 4 - width;
    const bool is_chosen = lines.asks_keys == is_key && std::find(lines.chosen.begin(), lines.chosen.end(), place) != lines.chosen.end();
    const bool is_shaded = lines.asks_keys != is_key && !lines.strengths.empty() && lines.strengths[static_cast<size_t>(place)] > 0;
    const Rgb colour = is_shaded ? shade(lines.strengths[static_cast<size_t>(place)]) : kPaper;
    const Area area{left - 1.5, y(place) - 0.5 * kPitch + 0.5, width + 3, kPitch - 1};
    if (is_shaded) d.marks.push_back(Box{area, colour, {}});
    if (is_chosen) d.marks.push_back(Box{area, {}, kAccent, 1});
    d.marks.push_back(Text{.x = is_key ? to + 4 : from - 4,
                           .y = y(place) + 2.8,
                           .text = text,
                           .anchor = is_key ? Anchor::kStart : Anchor::kEnd,
                           .colour = is_shaded ? ink_on(colour) : kInk});
    if (lines.asks_keys != is_key && !lines.shares.empty() && !lines.shares[static_cast<size_t>(place)].empty())
      d.marks.push_back(Text{.x = is_key ? left + width + 4 : left - 4,
                             .y = y(place) + 2.8,
                             .text = lines.shares[static_cast<size_t>(place)],
                             .anchor = is_key ? Anchor::kStart : Anchor::kEnd,
                             .colour = kSoft});
  };
  for (size_t i = 0; i < lines.queries.size(); ++i) token(false, static_cast<int64_t>(i), lines.queries[i], queries);
  for (size_t i = 0; i < lines.keys.size(); ++i) token(true, static_cast<int64_t>(i), lines.keys[i], keys);
  const double bottom = top + static_cast<double>(std::max(lines.queries.size(), lines.keys.size())) * kPitch + 4;
  return bottom + place_bars(d, lines, {at.left, bottom, at.width, 0}) - at.top;
}

}  // namespace clearhead::viewer::figure
