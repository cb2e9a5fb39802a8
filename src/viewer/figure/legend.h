// A colour bar: colours from zero to the largest weight, the numbers at both ends and in the middle, and the name of the scale.
#pragma once

#include <functional>
#include <string>

#include "viewer/figure/drawing.h"

namespace clearhead::viewer::figure {

struct Legend {
  std::string low{}, middle{}, high{};  ///< "0", "10 %", "41 %"; an empty `high`: no bar is drawn
  std::string scale{};                  ///< "square root scale"
  std::string name{};                   ///< label before the bar; may be empty
};

/// The mark that fills a segment of a bar; t in 0…1 is its position on the bar.
using Swatch = std::function<Mark(const Area& area, double t)>;
Mark shaded_swatch(const Area& area, double t);

/// Draws a bar at the top of an area, `indent` from its left edge if there is room. Returns its height.
double place(Drawing& drawing, const Legend& legend, const Area& at, double indent = 0, const Swatch& swatch = shaded_swatch);

}  // namespace clearhead::viewer::figure
