// Parses the drawing that the page sends as JSON to POST api/pdf (docs/viewer-api.md).
#pragma once

#include "base/json.h"
#include "viewer/figure/drawing.h"

namespace clearhead::viewer::figure {

/// Upper limits for a posted drawing. The time to make the PDF grows with each of them.
struct PostedLimits {
  int64_t marks = 50'000;
  int64_t texts = 10'000;       ///< marks of kind "text", the slowest kind
  int64_t text_bytes = 2'000;   ///< of one such mark: librsvg's time grows with the square, 100,000 bytes take minutes
  int64_t letters = 1'000'000;  ///< bytes of all texts together, including title and description
  int64_t pixels = 4'000'000;   ///< of all raster images together
  double points = 5'000;        ///< width and height of the page
};

/// Throws kFormat for JSON that is not a drawing, kUnsupported for unknown fields and kinds of marks, and kInvalidArgument, with the name,
/// for numbers out of range and for more than the limits allow.
Drawing drawing_from_json(const Json& json, const PostedLimits& limits = {});

}  // namespace clearhead::viewer::figure
