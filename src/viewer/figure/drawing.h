// A figure as a list of marks on white paper, and its output formats SVG and TikZ. PDF is made from SVG (pdf.h).
//
// Lengths are points (1/72 inch) from the upper left corner, x to the right, y down. Text is written as text, not as
// outlines, in Helvetica or a substitute. Its width comes from Adobe's metrics of Helvetica, so no font is loaded, plus 8 % because a
// substitute may be wider.
//
// The page draws the same marks by the same rules (web/src/figure/drawing.ts), because an offline page has no server. tests/goldens/figures
// checks that both produce the same output. Every change here must also be made there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "observe/picture.h"

namespace clearhead::viewer::figure {

struct Area {
  double left = 0, top = 0, width = 0, height = 0;
};

struct Box {
  Area area{};
  std::optional<Rgb> fill{}, stroke{};
  double line = 0.75;  ///< width of the stroke
};

/// A line from one point to another: straight, or curved so that it leaves and arrives horizontally.
struct Curve {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  Rgb stroke{};
  double line = 0.75, opacity = 1;
  bool bent = false;
};

enum class Anchor : uint8_t { kStart, kMiddle, kEnd };

struct Text {
  double x = 0, y = 0;  ///< position on the baseline that the anchor refers to
  std::string text{};
  double size = 8;
  Anchor anchor = Anchor::kStart;
  Rgb colour{26, 26, 26};
  bool bold = false;
  double turn = 0;  ///< rotation in degrees, counter-clockwise about (x, y)
};

/// A raster image.
struct Pixels {
  Area area{};
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb{};  ///< [height, width, 3]
};

/// A small triangle above (x, y) that points at it.
struct Pointer {
  double x = 0, y = 0;
};

using Mark = std::variant<Box, Curve, Text, Pixels, Pointer>;

struct Drawing {
  double width = 0, height = 0;
  std::string title{}, description{};  ///< for screen readers; the description contains the command that recreates the figure
  std::vector<Mark> marks{};
};

constexpr Rgb kPaper{255, 255, 255}, kInk{26, 26, 26}, kSoft{90, 90, 96}, kAccent{180, 18, 60};

/// The colours of the pinned heads in the order of pinning (Okabe and Ito 2008), the same as on the page.
constexpr Rgb kPins[6] = {{0, 114, 178}, {213, 94, 0}, {0, 135, 95}, {180, 80, 138}, {138, 109, 0}, {91, 91, 214}};

/// Interpolates from a to b, rounded to whole levels.
Rgb mix(Rgb a, Rgb b, double t);
/// The colour of an intensity in 0…1 on paper: 0 is white, larger is darker.
Rgb shade(double t);
/// Black or white, whichever has the better contrast on this colour.
Rgb ink_on(Rgb colour);

/// The width of a text in points at this font size.
double text_width(std::string_view text, double size);
/// The text, truncated with … to at most `width` points.
std::string fitted(std::string_view text, double width, double size);

/// Well-formed XML, whatever the texts contain.
std::string svg(const Drawing& drawing);
/// Only the marks [begin, end), on a transparent page of the drawing's size.
std::string svg_layer(const Drawing& drawing, size_t begin, size_t end);
/// A tikzpicture. Throws kUnsupported if the drawing contains raster images, which TikZ does not have.
std::string tikz(const Drawing& drawing);

}  // namespace clearhead::viewer::figure
