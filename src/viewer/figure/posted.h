// A drawing that the page has laid out, as the JSON that it posts (docs/viewer-api.md, POST api/pdf).
#pragma once

#include "base/json.h"
#include "viewer/figure/drawing.h"

namespace clearhead::figure {

/// What one posted drawing may hold. Drawing takes time linear in all of these.
struct PostedLimits {
  int64_t marks = 50'000;
  int64_t texts = 10'000;       ///< among the marks; laying one out takes as long as drawing ten boxes
  int64_t letters = 1'000'000;  ///< bytes of all texts together
  int64_t pixels = 4'000'000;   ///< of all pictures together
  double points = 5'000;        ///< width and height of the page
};

/// Throws kFormat for JSON that is no drawing, kUnsupported for fields and kinds of marks that are not known, and kInvalidArgument, by name,
/// for numbers out of range and for more than the limits allow.
Drawing drawing_from_json(const Json& json, const PostedLimits& limits = {});

}  // namespace clearhead::figure
