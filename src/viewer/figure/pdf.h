// PDF output of a drawing with librsvg and cairo. They are loaded on first use: most runs do not need them, and on a machine without them
// everything else works.
#pragma once

#include <functional>
#include <string>

#include "viewer/figure/drawing.h"

namespace clearhead::viewer::figure {

/// One page of the drawing's size; text stays text, with its fonts. The drawing's description becomes the PDF's subject.
/// Marks are drawn in small groups. `before_group` is called before each group with the number of marks drawn so far; an exception
/// that it throws stops the drawing. Throws kUnsupported if librsvg is not installed.
std::string pdf(const Drawing& drawing, const std::function<void(size_t drawn)>& before_group = {});

}  // namespace clearhead::viewer::figure
