// The elements of figures: matrices, lines between two columns, shaded words, thumbnails of heads, tables. A view describes what its figure
// contains; the layout on a column or a page, with text of at least 8 points, is implemented here, once for all views.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "clearhead/look.h"
#include "viewer/figure/drawing.h"
#include "viewer/figure/legend.h"

namespace clearhead::viewer::figure {

/// The rows or columns of a matrix. Labels are drawn if they fit; otherwise ticks at regular intervals show the number of the item.
struct Axis {
  std::string name{};                 ///< "query", "key"; empty: no name
  int64_t count = 0;                  ///< cells
  std::vector<std::string> labels{};  ///< [count], or empty
  int64_t begin = 0, step = 1;        ///< the item of the first cell, and the number of items per cell
};

struct Matrix {
  Axis rows{}, columns{};
  std::vector<float> values{};  ///< [rows, columns]; NaN: hidden, −1: never scored
  float most = 0;               ///< the value of the darkest colour
  Scale scale = Scale::kSqrt;
  std::vector<std::string> texts{};  ///< [rows, columns], written into the cells if they fit; or empty
  bool is_square = true;             ///< false: cells are as wide as the figure allows
  std::vector<int64_t> sinks{};      ///< columns of attention sinks
  std::vector<Range> chosen_rows{}, chosen_columns{};
  Legend legend{};
};

struct Lines {
  std::string query_name{}, key_name{};
  std::vector<std::string> queries{}, keys{};
  struct Line {
    int64_t query = 0, key = 0;  ///< positions in the columns
    double strength = 0;         ///< 0…1
    int head = 0;                ///< index among the pinned heads
    bool stands_out = true;
  };
  std::vector<Line> lines{};          ///< faintest first
  std::vector<int64_t> chosen{};      ///< positions of the chosen tokens in their column
  bool asks_keys = false;             ///< whether the chosen tokens are keys
  std::vector<double> strengths{};    ///< for the tokens of the other column, or empty
  std::vector<std::string> shares{};  ///< printed beside them, or empty
  std::vector<Legend> heads{};        ///< one per pinned head, since each head's lines have their own scale; named if there are several
};

struct Word {
  std::string text{};
  enum class Gap : uint8_t { kNone, kSpace, kLine };
  Gap gap = Gap::kNone;  ///< the gap before the word
  double strength = std::numeric_limits<double>::quiet_NaN();
  bool is_chosen = false, is_sink = false, is_special = false, is_hidden = false;
  std::string share{};         ///< printed below the word
  std::vector<double> bars{};  ///< one per pinned head, 0…1
};
struct Words {
  std::string title{};
  std::vector<Word> words{};
  Legend legend{};
  std::vector<std::string> bars{};  ///< for each pinned head the meaning of its bars, "L1.H0: bars to 41 %"
};

struct Thumbnail {
  std::string name{}, note{};
  int64_t rows = 0, columns = 0;
  std::vector<float> values{};                                 ///< [rows, columns]
  double strength = std::numeric_limits<double>::quiet_NaN();  ///< shades the name
  bool is_chosen = false;
};
struct Grid {
  int64_t columns = 1;
  std::vector<Thumbnail> cells{};
  std::vector<Legend> legends{};  ///< of the thumbnails, and of the names if these are shaded
};

struct Table {
  std::vector<std::string> head{};
  std::vector<std::vector<std::string>> rows{};
};

using Part = std::variant<Matrix, Lines, Words, Grid, Table>;

struct Figure {
  std::string name{}, caption{}, command{};
  std::vector<Part> parts{};
};

/// The intensity in 0…1 on the chosen scale; log spans four decades, as on the page.
double intensity(double value, double most, Scale scale);
/// The weight whose intensity is t, the inverse of intensity().
double value_at(double t, double most, Scale scale);

/// The widths of one column and of a two-column page, as journals use them.
constexpr double kColumnMillimetres = 84, kPageMillimetres = 174;

/// Lays out a figure: its parts, and the caption below them. The height follows from the width.
Drawing draw(const Figure& figure, double millimetres);

// Draw an element at a place on a drawing; each returns the height of the element.
double place(Drawing& drawing, const Matrix& matrix, Area at);
double place(Drawing& drawing, const Lines& lines, Area at);
double place(Drawing& drawing, const Words& words, Area at);
double place(Drawing& drawing, const Grid& grid, Area at);
double place(Drawing& drawing, const Table& table, Area at);

}  // namespace clearhead::viewer::figure
