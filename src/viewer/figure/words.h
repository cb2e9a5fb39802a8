// Text that the figures of a loaded trace share: labels of tokens, formatted numbers, captions. Also the figures of lines between
// tokens and of shaded text.
#pragma once

#include <string>
#include <vector>

#include "viewer/figure/figures.h"

namespace clearhead::viewer::figure {

/// The readable form of a token: its characters without surrounding whitespace, which is shown if there is nothing else; or the name of
/// an item.
std::string label_of(const RunText& text, int64_t id);
/// The name of a row: the label of the token that it writes, or of its own token if it only reads (observe/written_rows.h).
std::string row_label_of(const RunText& text, const WrittenRows& written, int64_t row);
/// "#3 token" for an id, "#3 first to #7 last" for a range; several are separated by commas.
std::string spans_text(LoadedTrace& loaded, const std::vector<Range>& spans);
/// The same for rows, which are named as by row_label_of(): "writing #3 token" if all of them write tokens.
std::string rows_text(LoadedTrace& loaded, const WrittenRows& written, const std::vector<Range>& rows);

/// What a caption adds if rows are named by the token that they write, or the patch that they draw; else empty.
std::string convention_of(const RunText& text, const WrittenRows& written);

std::string grouped(int64_t count);                             ///< "100,000"
std::string cell_text(float value);                             ///< ".413", at most five characters
std::string weight_text(const ViewState& state, double value);  ///< "41 %"; a plain number if the weights are not shares
Scale scale_of(const ViewState& state);
std::string scale_name(const ViewState& state);  ///< "√", "linear", "log"

/// The colour bar of weights. `most` is the weight of the darkest colour; `largest` may be larger.
Legend legend_of(const ViewState& state, double most, double largest);

/// A caption: model, heads, what is shown, kind of weights, scale, sink rule.
std::string caption_of(LoadedTrace& loaded, const ViewState& state, const std::string& heads, const std::string& what);

/// The figures of v=lines and v=read, see figure_of().
Figure lines_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options);
Figure text_figure(LoadedTrace& loaded, const ViewState& state, const FigureOptions& options);

}  // namespace clearhead::viewer::figure
