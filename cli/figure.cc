// Options for figures, and writing their files. The SVG is written before the PDF, so that it exists even if the PDF fails
// because librsvg is missing.
#include "cli/figure.h"

#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "cli/cli.h"
#include "viewer/questions/head.h"

namespace clearhead::cli {
namespace {

std::vector<std::string> weight_kinds() {
  std::vector<std::string> out;
  for (const viewer::WeightKind kind : viewer::kWeightKinds) out.emplace_back(viewer::to_string(kind));
  return out;
}

}  // namespace

void FigureArguments::add(CLI::App& app, CLI::Option* json) {
  constexpr double kLeast = 40, kMost = 1000;
  app.add_option("--svg", svg, "Write an SVG for print to this file, instead of drawing in the terminal")->excludes(json);
  app.add_option("--pdf", pdf, "Write a PDF (needs librsvg)")->excludes(json);
  app.add_option("--tikz", tikz, "Write a TikZ picture for LaTeX")->excludes(json);
  app.add_option("--figure-width", width, "Width of the figure in millimetres: 84 for one column, 174 for a page (default: 174)")
      ->check(CLI::Range(kLeast, kMost));
  app.add_option("--weight", weight,
                 "Weights in the figure: raw; value or output (times the norm of the value, before or after the output\nprojection); after "
                 "a run with --gradients also for or against (what supports or opposes the answer), raises\nor lowers (where a larger "
                 "weight would support or oppose it), and for-value, against-value, raises-value,\nlowers-value (these four times the "
                 "norm of the value) (default: raw)")
      ->check(CLI::IsMember(weight_kinds()));
  app.add_flag("--offsets", offsets, "In the figure of a map: columns are key − query, so that a sliding window is a vertical band");
  app.add_flag("--lines", lines, "In the figure: lines between words instead of a map");
}

std::string FigureArguments::as_typed() const {
  std::string out = (weight.empty() ? "" : " --weight " + weight) + (offsets ? " --offsets" : "") + (lines ? " --lines" : "");
  for (const auto& [path, option] : {std::pair{&svg, " --svg "}, {&pdf, " --pdf "}, {&tikz, " --tikz "}}) {
    if (!path->empty()) out += option + quoted(*path);
  }
  return width == viewer::figure::kPageMillimetres ? out : out + format(" --figure-width {}", width);
}

void FigureArguments::check() const {
  if (given()) return;
  for (const auto& [has, name] : {std::pair{lines, "--lines"}, {offsets, "--offsets"}, {!weight.empty(), "--weight"}}) {
    if (has) usage_error(format("{} applies to a figure: add --svg FILE, --pdf FILE or --tikz FILE", name));
  }
}

void FigureArguments::write(const viewer::figure::Figure& figure) const {
  for (const auto& [path, kind] : {std::pair{&svg, "svg"}, {&pdf, "pdf"}, {&tikz, "tikz"}}) {
    if (path->empty()) continue;
    const std::string bytes = viewer::figure::figure_bytes(figure, *viewer::figure::file_format(kind), width);
    write_file(*path, bytes);
    print(format("{}: {:.0f} mm wide, {:.1f} kB", *path, width, static_cast<double>(bytes.size()) / 1000));
  }
}

}  // namespace clearhead::cli
