// Colour bars of figures. web/src/figure/legend.ts of the page draws the same bars.
#include "viewer/figure/legend.h"

#include <algorithm>

namespace clearhead::viewer::figure {
namespace {

constexpr double kSize = 8, kGap = 6, kLeading = 9.5;
constexpr double kTall = 6;   // height of the bar
constexpr double kBar = 120;  // width of the bar, or more if its numbers need it
constexpr int kSwatches = 24;

double bar_width(const Legend& l) {
  const double end = std::max(text_width(l.low, kSize), text_width(l.high, kSize));
  return std::max(kBar, 2 * end + text_width(l.middle, kSize) + 2 * kGap);
}

double name_width(const Legend& l) { return l.name.empty() ? 0 : text_width(l.name, kSize) + kGap; }

}  // namespace

Mark shaded_swatch(const Area& area, double t) { return Box{area, shade(t), {}}; }

double place(Drawing& d, const Legend& l, const Area& at, double indent, const Swatch& swatch) {
  if (l.high.empty()) return 0;
  const double bar = bar_width(l), name = name_width(l), all = name + bar + kGap + text_width(l.scale, kSize);
  const double left = at.left + std::max(0.0, std::min(indent, at.width - all)), from = left + name, to = from + bar;
  const double text = at.top + kTall + 1, numbers = at.top + kTall + 9;
  const bool is_below = all > at.width;  // whether the name of the scale is below the bar
  if (!l.name.empty()) d.marks.push_back(Text{.x = left, .y = text, .text = l.name});
  const double each = bar / kSwatches;
  for (int i = 0; i < kSwatches; ++i) d.marks.push_back(swatch({from + each * i, at.top, each, kTall}, (i + 0.5) / kSwatches));
  d.marks.push_back(Box{{from, at.top, bar, kTall}, {}, mix(kPaper, kInk, 0.4), 0.5});
  d.marks.push_back(Text{.x = from, .y = numbers, .text = l.low, .colour = kSoft});
  d.marks.push_back(Text{.x = (from + to) / 2, .y = numbers, .text = l.middle, .anchor = Anchor::kMiddle, .colour = kSoft});
  d.marks.push_back(Text{.x = to, .y = numbers, .text = l.high, .anchor = Anchor::kEnd, .colour = kSoft});
  d.marks.push_back(Text{.x = is_below ? from : to + kGap, .y = is_below ? numbers + kLeading : text, .text = l.scale, .colour = kSoft});
  return kTall + 13 + (is_below ? kLeading : 0);
}

}  // namespace clearhead::viewer::figure
