// Print figures of what a view state shows. They call the functions that answer the page's requests (viewer/questions/) directly,
// without HTTP. Used by `clearhead show --svg`, by api/export and by scripts. The page draws its own figures, including those of views
// that need more than these functions return.
#pragma once

#include <string>
#include <string_view>

#include "viewer/figure/parts.h"
#include "viewer/view_state.h"

namespace clearhead::viewer::figure {

struct FigureOptions {
  std::string command{};  ///< the command that recreates the figure; empty: the command of the loaded trace, with the state
  LookOptions look{};
};

/// v=map: the rectangle, pooled if a side has more than 512 cells · v=lines: curves of the pinned heads, up to 300 tokens · v=atlas: all
/// heads · v=read and other views: the text shaded by a row or a column, and its heaviest tokens. Throws kInvalidArgument for a state
/// that cannot be shown, kNotFound, NotKept.
Figure figure_of(LoadedTrace& loaded, const std::string& state, const FigureOptions& options = {});

/// An output format of figures.
struct FileFormat {
  const char* name;  ///< in options and addresses: "svg", "pdf", "tikz"
  const char* extension;
  const char* media_type;
  std::string (*bytes)(const Drawing& drawing);
};
/// The format of this name; null if there is none.
const FileFormat* file_format(std::string_view name);

/// The bytes of a file with the figure, drawn this many millimetres wide.
std::string figure_bytes(const Figure& figure, const FileFormat& drawn, double millimetres);

}  // namespace clearhead::viewer::figure
