// Numbers with their intervals as a dot plot: a row for each name, a panel for each measure, SVG with text as text.
//
// One colour (blue of Okabe & Ito 2008, told apart by all), whiskers for the interval, a dashed line where a panel has a value to be compared with. Light, for print.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/bootstrap.h"

namespace clearhead::judge {

struct Panel {
  std::string title{};
  std::vector<std::optional<metrics::Interval>> values{};  // [row]; nothing: not measured
  std::optional<double> reference{};                       // a dashed line
  double scale = 1;                                        // 100: as percent
};

struct DotPlot {
  std::string title{}, caption{};
  std::vector<std::string> rows{};
  std::vector<Panel> panels{};
};

/// Throws kInvalidArgument where a panel has not as many values as there are rows.
std::string dot_plot_svg(const DotPlot& plot);

struct PageTable {
  std::string title{};
  std::vector<std::string> head{};
  std::vector<std::vector<std::string>> rows{};  // the first cell of each is its heading
};
/// One page that works offline: the plots, then the tables.
std::string page_html(const std::string& title, const std::string& introduction, const std::vector<std::string>& svgs,
                      const std::vector<PageTable>& tables);

}  // namespace clearhead::judge
