// What figures of a loaded trace share: names of tokens and numbers, captions; and the figures that are made of words.
#pragma once

#include <string>
#include <vector>

#include "viewer/figure/figures.h"

namespace clearhead::figure {

/// A token as it reads: its characters without the blanks around them, which are shown where there is nothing else; an item's name.
std::string label_of(const RunText& text, int64_t id);
std::string spans_text(LoadedTrace& loaded, const std::vector<Range>& spans);

std::string grouped(int64_t count);                             ///< "100,000"
std::string cell_text(float value);                             ///< ".413", five characters at most
std::string weight_text(const ViewState& state, double value);  ///< "41 %"; a number where weights are no shares
Scale scale_of(const ViewState& state);
std::string scale_name(const ViewState& state);  ///< "√", "linear", "log"

/// The colour bar of weights whose darkest colour stands for `most`; `largest` may be more.
Legend legend_of(const ViewState& state, double most, double largest);

/// Model, heads, what is shown, kind of weights, scale, rule for sinks.
std::string caption_of(LoadedTrace& loaded, const ViewState& state, const std::string& heads, const std::string& what);

Figure lines_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options);
Figure text_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options);

}  // namespace clearhead::figure
