// Panels side by side that share their rows; ticks at 1, 2 or 5 times a power of ten.
#include "explain/evaluate/plot.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/markup.h"
#include "clearhead/error.h"

namespace clearhead::explain {
namespace {

// Escapes XML; control characters, which XML does not allow, become spaces.
std::string xml(std::string_view text) {
  std::string out = markup_escaped(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return out;
}

constexpr double kRow = 22, kNames = 150, kPanel = 190, kGap = 24, kTop = 58, kBottom = 44;
constexpr const char* kDots = "#0072b2";
constexpr const char* kStyle =
    "text{font:12px system-ui,-apple-system,'Segoe "
    "UI',sans-serif;fill:#222}.small{font-size:11px;fill:#555}.title{font-size:14px;font-weight:600}";

struct Axis {
  double low = 0, high = 1, step = 1;
  double at(double value) const { return (value - low) / (high - low) * kPanel; }
};

Axis axis_of(const Panel& panel) {
  std::vector<double> values;
  for (const auto& value : panel.values) {
    if (value) values.insert(values.end(), {value->mean * panel.scale, value->low * panel.scale, value->high * panel.scale});
  }
  if (panel.reference) values.push_back(*panel.reference * panel.scale);
  if (values.empty()) return {};
  auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double spread = std::max(*high - *low, std::max(1e-9, 1e-3 * std::abs(*high)));
  const double power = std::pow(10, std::floor(std::log10(spread / 3)));
  Axis out{.step = power};
  for (const double step : {1.0, 2.0, 5.0, 10.0}) {
    out.step = step * power;
    if (spread / out.step <= 4) break;
  }
  out.low = std::floor(*low / out.step) * out.step;
  out.high = std::ceil(*high / out.step) * out.step;
  if (out.high <= out.low) out.high = out.low + out.step;
  return out;
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view style, std::string_view text) {
  return format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n", x, y, anchor, style, xml(text));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view style) {
  return format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2, y2, style);
}

std::string panel_svg(const Panel& panel, double left, size_t rows) {
  const Axis axis = axis_of(panel);
  const double bottom = kTop + kRow * static_cast<double>(rows);
  std::string out = text_at(left + kPanel / 2, kTop - 12, "middle", "", panel.title);
  const auto ticks = static_cast<int>(std::lround((axis.high - axis.low) / axis.step));
  for (int tick = 0; tick <= ticks; ++tick) {
    const double value = axis.low + tick * axis.step, x = left + axis.at(value);
    out += line(x, kTop, x, bottom, "stroke=\"#e3e3e3\"");
    out += text_at(x, bottom + 15, "middle", "small", format("{:.6g}", std::abs(value) < axis.step * 1e-6 ? 0.0 : value));
  }
  if (panel.reference) {
    const double x = left + axis.at(*panel.reference * panel.scale);
    out += line(x, kTop, x, bottom, "stroke=\"#888\" stroke-dasharray=\"4 3\"");
  }
  for (size_t row = 0; row < rows; ++row) {
    const double y = kTop + kRow * (static_cast<double>(row) + 0.5);
    if (!panel.values[row]) {
      out += text_at(left + kPanel / 2, y + 4, "middle", "small", "–");
      continue;
    }
    const metrics::Interval& value = *panel.values[row];
    const double low = left + axis.at(value.low * panel.scale), high = left + axis.at(value.high * panel.scale);
    out += line(low, y, high, y, format("stroke=\"{}\" stroke-width=\"2\"", kDots));
    out += format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"><title>{:.4g} ({:.4g} … {:.4g})</title></circle>\n",
                  left + axis.at(value.mean * panel.scale), y, kDots, value.mean * panel.scale, value.low * panel.scale,
                  value.high * panel.scale);
  }
  return out;
}

}  // namespace

std::string dot_plot_svg(const DotPlot& plot) {
  for (const Panel& panel : plot.panels) {
    if (panel.values.size() != plot.rows.size())
      fail(ErrorCode::kInvalidArgument, "plot: panel \"{}\" has {} values for {} rows; expected one value for each row", panel.title,
           panel.values.size(), plot.rows.size());
  }
  const double width = std::max(460.0, kNames + static_cast<double>(plot.panels.size()) * (kPanel + kGap) + 16);  // at least the caption
  const double height = kTop + kRow * static_cast<double>(plot.rows.size()) + kBottom;
  std::string out =
      format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" role=\"img\">\n",
             width, height, width, height);
  out += format("<title>{}</title>\n<style>{}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", xml(plot.title), kStyle);
  out += text_at(12, 22, "start", "title", plot.title);
  for (size_t row = 0; row < plot.rows.size(); ++row)
    out += text_at(kNames - 10, kTop + kRow * (static_cast<double>(row) + 0.5) + 4, "end", "", plot.rows[row]);
  for (size_t at = 0; at < plot.panels.size(); ++at)
    out += panel_svg(plot.panels[at], kNames + static_cast<double>(at) * (kPanel + kGap), plot.rows.size());
  return out + text_at(12, height - 8, "start", "small", plot.caption) + "</svg>\n";
}

std::string page_html(const std::string& title, const std::string& introduction, const std::vector<std::string>& svgs,
                      const std::vector<PageTable>& tables) {
  std::string out = format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><title>{}</title>\n"
      "<style>body{{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1100px;margin:2rem auto;padding:0 1rem}}"
      "svg{{max-width:100%;height:auto}}table{{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}}"
      "th,td{{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}}th:first-child{{text-align:left}}"
      ".table{{overflow-x:auto}}</style></head>\n<body><h1>{}</h1>\n<p>{}</p>\n",
      xml(title), xml(title), xml(introduction));
  for (const std::string& svg : svgs) out += "<div>" + svg + "</div>\n";
  for (const PageTable& table : tables) {
    out += format("<h2>{}</h2>\n<div class=\"table\"><table><thead><tr>", xml(table.title));
    for (const std::string& cell : table.head) out += format("<th scope=\"col\">{}</th>", xml(cell));
    out += "</tr></thead><tbody>\n";
    for (const std::vector<std::string>& row : table.rows) {
      out += "<tr>";
      for (size_t at = 0; at < row.size(); ++at) out += format(at == 0 ? "<th scope=\"row\">{}</th>" : "<td>{}</td>", xml(row[at]));
      out += "</tr>\n";
    }
    out += "</tbody></table></div>\n";
  }
  return out + "</body></html>\n";
}

}  // namespace clearhead::explain
