// What a state shows, as a figure for print: the same questions that the page asks, answered in process. For `clearhead show --svg`, for
// api/export and for scripts; the page draws its own, also of views that stand on no question alone.
#pragma once

#include <string>
#include <string_view>

#include "viewer/figure/parts.h"
#include "viewer/view_state.h"

namespace clearhead::figure {

struct FigureOptions {
  std::string command{};       ///< that makes it again; empty: that of the loaded trace, with the state
  bool mean_of_layer = false;  ///< v=map: the mean over the heads of the first head's layer
  LookOptions look{};
};

/// v=map: the rectangle, pooled where it has more than 512 cells a side · v=lines: curves of the pinned heads, up to 300 tokens · v=read: the
/// text shaded by a row or a column, and its heaviest tokens · v=atlas: all heads. Throws kUnsupported for other views, NotKept, kNotFound.
Figure figure_of(LoadedTrace& loaded, const std::string& state, const FigureOptions& options = {});

/// A format that figures are written in.
struct FileFormat {
  const char* name;  ///< in options and addresses: "svg", "pdf", "tikz"
  const char* extension;
  const char* media_type;
  std::string (*bytes)(const Drawing& drawing);
};
/// The format of this name; null if there is none.
const FileFormat* file_format(std::string_view name);

/// The bytes of a file that holds the figure, drawn this many millimetres wide.
std::string figure_bytes(const Figure& figure, const FileFormat& drawn, double millimetres);

}  // namespace clearhead::figure
