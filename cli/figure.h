// --svg, --pdf and --tikz: what a command shows, as a figure for print.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "viewer/figure/figures.h"

namespace clearhead::cli {

struct FigureArguments {
  std::string svg{}, pdf{}, tikz{};
  double width = figure::kPageMillimetres;
  bool lines = false, offsets = false;
  std::string weight{};  ///< what the figure shows; empty: raw weights

  /// `json`: what prints instead of drawing.
  void add(CLI::App& app, CLI::Option* json);
  bool given() const { return !svg.empty() || !pdf.empty() || !tikz.empty(); }
  /// " --lines --svg FILE …"
  std::string as_typed() const;
  /// Throws usage_error where options need a file that is not named.
  void check() const;
  /// Every file that was asked for, complete or not at all, and a line that names it.
  void write(const figure::Figure& figure) const;
};

}  // namespace clearhead::cli
