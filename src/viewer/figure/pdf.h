// PDF of an SVG, by librsvg and cairo, which are loaded when the first one is asked for: most runs need neither, and a machine without them has
// all the rest.
#pragma once

#include <string>

namespace clearhead::figure {

/// One page of the SVG's size; text stays text, with its fonts. Throws kUnsupported where librsvg is not installed, kFormat for an SVG that it
/// cannot read.
std::string pdf(const std::string& svg, const std::string& title, const std::string& subject);

}  // namespace clearhead::figure
