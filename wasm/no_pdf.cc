// Refuses PDF, which librsvg makes; the page then has the browser print the figure.
#include "base/format.h"
#include "viewer/figure/pdf.h"

namespace clearhead::viewer::figure {

std::string pdf(const Drawing&, const std::function<void(size_t)>&) {
  fail(ErrorCode::kUnsupported, "PDF: this page has no program that writes PDF; print the figure, or write SVG");
}

}  // namespace clearhead::viewer::figure
