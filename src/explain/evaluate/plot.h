// Dot plots of numbers with confidence intervals: one row per name, one panel per measure, as SVG with text as text.
//
// One colour (the blue of Okabe & Ito 2008, which everyone can distinguish), whiskers for the interval, and a dashed line if a panel has a
// reference value. Light background, for print.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/bootstrap.h"

namespace clearhead::explain {

struct Panel {
  std::string title{};
  std::vector<std::optional<metrics::Interval>> values{};  // [row]; nullopt: not measured
  std::optional<double> reference{};                       // drawn as a dashed line
  double scale = 1;                                        // factor for display; 100: percent
};

struct DotPlot {
  std::string title{}, caption{};
  std::vector<std::string> rows{};
  std::vector<Panel> panels{};
};

/// Throws kInvalidArgument if the number of values of a panel differs from the number of rows.
std::string dot_plot_svg(const DotPlot& plot);

struct PageTable {
  std::string title{};
  std::vector<std::string> head{};
  std::vector<std::vector<std::string>> rows{};  // the first cell of each row is its heading
};
/// A self-contained page that works offline: the plots, then the tables.
std::string page_html(const std::string& title, const std::string& introduction, const std::vector<std::string>& svgs,
                      const std::vector<PageTable>& tables);

}  // namespace clearhead::explain
