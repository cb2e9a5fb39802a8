// A colour bar: colours from no weight to the largest, the numbers of its two ends and its middle, and the scale between them.
#pragma once

#include <functional>
#include <string>

#include "viewer/figure/drawing.h"

namespace clearhead::figure {

struct Legend {
  std::string low{}, middle{}, high{};  ///< "0", "10 %", "41 %"; an empty `high`: none is drawn
  std::string scale{};                  ///< "square root scale"
  std::string name{};                   ///< before the bar: what it is about; may be empty
};

/// The mark that fills an area of a bar; t is its place, 0…1.
using Swatch = std::function<Mark(const Area& area, double t)>;
Mark shaded_swatch(const Area& area, double t);

/// Draws a bar at the top of an area, `indent` from its left if there is room. Returns how tall it is.
double place(Drawing& drawing, const Legend& legend, const Area& at, double indent = 0, const Swatch& swatch = shaded_swatch);

}  // namespace clearhead::figure
