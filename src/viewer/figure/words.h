// Text that the figures of a loaded trace share: labels of tokens, formatted numbers, captions. Also the figures of lines between
// tokens and of shaded text.
#pragma once

#include <string>
#include <vector>

#include "viewer/figure/figures.h"

namespace clearhead::viewer::figure {

/// Returns the readable form of a token: its characters without surrounding whitespace. A token of whitespace alone is made visible. For an
/// item, returns its name.
std::string label_of(const RunText& text, int64_t id);
/// Returns the name of a row: the label of the token that it writes, or of its own token if it only reads (observe/written_rows.h).
std::string row_label_of(const RunText& text, const WrittenRows& written, int64_t row);
/// Returns ranges of ids as text: "#3 token" for a single id, "#3 first to #7 last" for more. Several ranges are separated by commas.
std::string spans_text(LoadedTrace& loaded, const std::vector<Range>& spans);
/// Returns ranges of rows as text, with the names that row_label_of() gives them. The text begins with "writing" if all rows write tokens.
std::string rows_text(LoadedTrace& loaded, const WrittenRows& written, const std::vector<Range>& rows);

/// Returns the end of a caption for maps whose rows write: it says that a row is named by the token that it writes, or by the item that it
/// draws. Empty for maps whose rows only read.
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
