// The options --svg, --pdf and --tikz, which write a figure for print.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "viewer/figure/figures.h"

namespace clearhead::cli {

struct FigureArguments {
  std::string svg{}, pdf{}, tikz{};
  double width = viewer::figure::kPageMillimetres;
  bool lines = false, offsets = false;
  std::string weight{};  ///< which weights the figure shows; empty: raw weights

  /// `json` is the command's --json option; it excludes figures.
  void add(CLI::App& app, CLI::Option* json);
  bool given() const { return !svg.empty() || !pdf.empty() || !tikz.empty(); }
  /// The options as on a command line: " --lines --svg FILE …".
  std::string as_typed() const;
  /// Throws usage_error if --lines, --offsets or --weight is given without a file to write.
  void check() const;
  /// Writes every requested file, each completely or not at all, and prints a line that names it.
  void write(const viewer::figure::Figure& figure) const;
};

}  // namespace clearhead::cli
