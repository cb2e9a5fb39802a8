// PDF of a drawing, by librsvg and cairo, which are loaded when the first one is asked for: most runs need neither, and a machine without them
// has all the rest.
#pragma once

#include <functional>
#include <string>

#include "viewer/figure/drawing.h"

namespace clearhead::figure {

/// One page of the drawing's size; text stays text, with its fonts. The drawing's description becomes the PDF's subject.
/// Marks are drawn in small groups. `before_group` is called before each with the number of marks drawn so far; what it throws ends the drawing.
/// Throws kUnsupported where librsvg is not installed.
std::string pdf(const Drawing& drawing, const std::function<void(size_t drawn)>& before_group = {});

}  // namespace clearhead::figure
