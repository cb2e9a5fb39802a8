// What figures are made of: matrices, lines between two columns, shaded words, thumbnails of heads, tables. A view says what its figure holds;
// how it is laid out on a column or a page, 8 points and more everywhere, is written here, once for all views.
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

namespace clearhead::figure {

/// Rows or columns of a matrix: labels where they have room, else every so many the number of the first.
struct Axis {
  std::string name{};                 ///< "query", "key"; empty: none
  int64_t count = 0;                  ///< cells
  std::vector<std::string> labels{};  ///< [count], or empty
  int64_t begin = 0, step = 1;        ///< what the first cell stands for, and how many a cell
};

struct Matrix {
  Axis rows{}, columns{};
  std::vector<float> values{};  ///< [rows, columns]; NaN hidden, −1 never scored
  float most = 0;               ///< the darkest
  Scale scale = Scale::kSqrt;
  std::vector<std::string> texts{};  ///< [rows, columns], written into cells where they have room; or empty
  bool is_square = true;             ///< false: cells are as wide as there is room for
  std::vector<int64_t> sinks{};      ///< columns
  std::vector<Range> chosen_rows{}, chosen_columns{};
  Legend legend{};
};

struct Lines {
  std::string query_name{}, key_name{};
  std::vector<std::string> queries{}, keys{};
  struct Line {
    int64_t query = 0, key = 0;  ///< places in the columns
    double strength = 0;         ///< 0…1
    int head = 0;                ///< which of the pinned ones
    bool stands_out = true;
  };
  std::vector<Line> lines{};          ///< faintest first
  std::vector<int64_t> chosen{};      ///< places on the side that is asked
  bool asks_keys = false;             ///< the chosen ones are keys
  std::vector<double> strengths{};    ///< of the other side's tokens, or empty
  std::vector<std::string> shares{};  ///< beside them, or empty
  std::vector<Legend> heads{};        ///< of the pinned heads, whose lines have scales of their own; named where there are several
};

struct Word {
  std::string text{};
  enum class Gap : uint8_t { kNone, kSpace, kLine };
  Gap gap = Gap::kNone;  ///< before it
  double strength = std::numeric_limits<double>::quiet_NaN();
  bool is_chosen = false, is_sink = false, is_special = false, is_hidden = false;
  std::string share{};         ///< under it
  std::vector<double> bars{};  ///< of the pinned heads, 0…1
};
struct Words {
  std::string title{};
  std::vector<Word> words{};
  Legend legend{};
  std::vector<std::string> bars{};  ///< of the pinned heads: what their bars mean, "L1.H0: bars to 41 %"
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
  std::vector<Legend> legends{};  ///< of the thumbnails, and of the names where they are shaded
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

/// 0…1 on the chosen scale; log spans four decades, as on the page.
double intensity(double value, double most, Scale scale);
/// The weight whose intensity is t, the inverse of intensity().
double value_at(double t, double most, Scale scale);

/// Widths of a column and of a page of two, as journals have them.
constexpr double kColumnMillimetres = 84, kPageMillimetres = 174;

Drawing draw(const Figure& figure, double millimetres);

// The parts, at a place on a drawing; each returns how tall it is.
double place(Drawing& drawing, const Matrix& matrix, Area at);
double place(Drawing& drawing, const Lines& lines, Area at);
double place(Drawing& drawing, const Words& words, Area at);
double place(Drawing& drawing, const Grid& grid, Area at);
double place(Drawing& drawing, const Table& table, Area at);

}  // namespace clearhead::figure
