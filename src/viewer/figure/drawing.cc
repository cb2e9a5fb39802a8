// Implements text metrics, SVG and TikZ. Numbers are written with at most two decimals: a hundredth of a point is smaller than a
// printer's dot.
#include "viewer/figure/drawing.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/base64.h"
#include "base/format.h"
#include "base/utf8.h"
#include "io/png.h"
#include "text/unicode.h"

namespace clearhead::viewer::figure {
namespace {

// Widths of the printable ASCII characters in thousandths of the font size, from Adobe's metrics of Helvetica (Core 14 AFM files).
constexpr std::array<uint16_t, 95> kHelvetica = {
    278, 278, 355, 556, 556, 889, 667, 191, 333,  333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667,  667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556,
    556, 222, 222, 500, 222, 833, 556, 556, 556,  556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584};
constexpr double kStandIn = 1.08;  // Noto Sans and DejaVu Sans are wider than Helvetica

// Decodes the next character of UTF-8; U+FFFD for an invalid byte.
char32_t next(std::string_view from, size_t& at) {
  const std::string_view ahead = from.substr(at, 4);
  const text::Decoded found = valid_utf8_prefix(ahead) > 0 ? text::decode_valid(ahead, 0) : text::Decoded{0xFFFD, 1};
  at += found.length;
  return found.c;
}

double width_of(char32_t code) {
  if (code >= 32 && code < 127) return kHelvetica[code - 32];
  const bool is_joined = (code >= 0x300 && code < 0x370) || (code >= 0x200B && code < 0x2010) || (code >= 0xFE00 && code < 0xFE10);
  if (is_joined) return 0;
  const bool is_wide = (code >= 0x1100 && code < 0x1160) || (code >= 0x2E80 && code < 0xD7B0) || (code >= 0xF900 && code < 0xFB00) ||
                       (code >= 0xFF00 && code < 0xFF61) || code >= 0x1F000;
  return is_wide ? 1000 / kStandIn : code == 0x202F || code == 0x2009 ? 200 : 600;
}

std::string hex(Rgb c) { return format("#{:02x}{:02x}{:02x}", int{c.red}, int{c.green}, int{c.blue}); }

std::string number(double value) {
  const double rounded = std::floor(value * 100 + 0.5) / 100;
  return rounded == 0 ? "0" : format("{}", rounded);
}

// Escapes text between tags; characters that XML 1.0 does not allow become U+FFFD.
std::string escaped(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t from = at;
    const char32_t code = next(text, at);
    if (code == '&') {
      out += "&amp;";
    } else if (code == '<') {
      out += "&lt;";
    } else if (code == '>') {
      out += "&gt;";
    } else if (code == 0xFFFD || code == 0xFFFE || code == 0xFFFF || (code < 32 && code != '\n' && code != '\t')) {
      out += "\xEF\xBF\xBD";
    } else {
      out += text.substr(from, at - from);
    }
  }
  return out;
}

struct SvgWriter {
  std::string& out;

  std::string place(const Area& a) const {
    return format("x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", number(a.left), number(a.top), number(a.width), number(a.height));
  }
  void operator()(const Box& box) const {
    out += "<rect " + place(box.area) + format(" fill=\"{}\"", box.fill ? hex(*box.fill) : "none");
    if (box.stroke) out += format(" stroke=\"{}\" stroke-width=\"{}\"", hex(*box.stroke), number(box.line));
    out += "/>\n";
  }
  void operator()(const Curve& c) const {
    const std::string to = number(c.x1) + " " + number(c.y1);
    const double reach = c.x1 - c.x0;
    const std::string way =
        c.bent ? format("C{} {} {} {} {}", number(c.x0 + 0.45 * reach), number(c.y0), number(c.x0 + 0.55 * reach), number(c.y1), to)
               : "L" + to;
    out += format("<path d=\"M{} {}{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-opacity=\"{}\"/>\n", number(c.x0),
                  number(c.y0), way, hex(c.stroke), number(c.line), number(c.opacity));
  }
  void operator()(const Text& t) const {
    out += format("<text x=\"{}\" y=\"{}\" font-size=\"{}\"", number(t.x), number(t.y), number(t.size));
    if (t.anchor != Anchor::kStart) out += format(" text-anchor=\"{}\"", t.anchor == Anchor::kMiddle ? "middle" : "end");
    if (t.bold) out += " font-weight=\"bold\"";
    if (t.turn != 0) out += format(" transform=\"rotate({} {} {})\"", number(-t.turn), number(t.x), number(t.y));
    out += format(" fill=\"{}\">{}</text>\n", hex(t.colour), escaped(t.text));
  }
  void operator()(const Pixels& p) const {
    const std::string png = io::png_bytes({.width = p.width, .height = p.height, .channels = 3, .pixels = p.rgb});
    out += "<image " + place(p.area) +
           format(" preserveAspectRatio=\"none\" image-rendering=\"pixelated\" href=\"data:image/png;base64,{}\"/>\n", base64(png));
  }
  void operator()(const Pointer& p) const {
    out += format("<path d=\"M{} {}h6l-3 5z\" fill=\"{}\"/>\n", number(p.x - 3), number(p.y - 5), hex(kAccent));
  }
};

std::string svg_head(const Drawing& d) {
  constexpr double kMillimetres = 25.4 / 72;
  return format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}mm\" height=\"{}mm\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "font-family=\"Helvetica, Arial, 'Liberation Sans', 'Noto Sans', sans-serif\">\n",
      number(d.width * kMillimetres), number(d.height * kMillimetres), number(d.width), number(d.height));
}

// Escapes text for LaTeX.
std::string latex(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t from = at;
    const char32_t code = next(text, at);
    switch (code) {
      case '\\': out += "\\textbackslash{}"; break;
      case '~': out += "\\textasciitilde{}"; break;
      case '^': out += "\\textasciicircum{}"; break;
      case '<': out += "\\textless{}"; break;
      case '>': out += "\\textgreater{}"; break;
      case '|': out += "\\textbar{}"; break;
      case '"': out += "\\textquotedbl{}"; break;
      case 0x202F:
      case 0x2009: out += "\\,"; break;
      case 0x221A: out += "\\ensuremath{\\surd}"; break;
      case 0x2192: out += "\\ensuremath{\\rightarrow}"; break;
      case 0x2026: out += "\\dots{}"; break;
      case 0x00B7: out += "\\textperiodcentered{}"; break;
      default:
        if (code < 32) {
          out += ' ';
        } else if (std::string_view("{}$&#_%").find(static_cast<char>(code)) != std::string_view::npos && code < 127) {
          out += '\\';
          out += static_cast<char>(code);
        } else {
          out += code == 0xFFFD ? std::string_view("?") : text.substr(from, at - from);
        }
    }
  }
  return out;
}

struct TikzWriter {
  std::string& out;

  std::string colour(Rgb c) const { return format("{{rgb,255:red,{};green,{};blue,{}}}", int{c.red}, int{c.green}, int{c.blue}); }
  void operator()(const Box& box) const {
    std::string how;
    if (box.fill) how += "fill=" + colour(*box.fill);
    if (box.stroke) how += (how.empty() ? "" : ",") + format("draw={},line width={}bp", colour(*box.stroke), number(box.line));
    const Area& a = box.area;
    out += format("\\path[{}] ({},{}) rectangle ({},{});\n", how, number(a.left), number(a.top), number(a.left + a.width),
                  number(a.top + a.height));
  }
  void operator()(const Curve& c) const {
    const double reach = c.x1 - c.x0;
    const std::string way = c.bent ? format(".. controls ({},{}) and ({},{}) ..", number(c.x0 + 0.45 * reach), number(c.y0),
                                            number(c.x0 + 0.55 * reach), number(c.y1))
                                   : "--";
    out += format("\\draw[draw={},line width={}bp,opacity={}] ({},{}) {} ({},{});\n", colour(c.stroke), number(c.line), number(c.opacity),
                  number(c.x0), number(c.y0), way, number(c.x1), number(c.y1));
  }
  void operator()(const Text& t) const {
    const char* anchor = t.anchor == Anchor::kStart ? "base west" : t.anchor == Anchor::kMiddle ? "base" : "base east";
    std::string how = format("anchor={},text={}", anchor, colour(t.colour));
    if (t.turn != 0) how += format(",rotate={}", number(t.turn));
    if (t.bold) how += ",font=\\sffamily\\bfseries\\fontsize{8}{9}\\selectfont";
    out += format("\\node[{}] at ({},{}) {{{}}};\n", how, number(t.x), number(t.y), latex(t.text));
  }
  void operator()(const Pixels& p) const {
    fail(ErrorCode::kUnsupported,
         "TikZ cannot contain images: this figure has one of {} × {} cells. Write SVG or PDF, or show fewer tokens.", p.height, p.width);
  }
  void operator()(const Pointer& p) const {
    out += format("\\fill[fill={}] ({},{}) -- ({},{}) -- ({},{}) -- cycle;\n", colour(kAccent), number(p.x - 3), number(p.y - 5),
                  number(p.x + 3), number(p.y - 5), number(p.x), number(p.y));
  }
};

double luminance(Rgb colour) {
  const auto linear = [](uint8_t level) {
    const double s = level / 255.0;
    return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(colour.red) + 0.7152 * linear(colour.green) + 0.0722 * linear(colour.blue);
}

}  // namespace

Rgb mix(Rgb a, Rgb b, double t) {
  const auto level = [t](uint8_t from, uint8_t to) { return static_cast<uint8_t>(std::floor(from + (to - from) * t + 0.5)); };
  return {level(a.red, b.red), level(a.green, b.green), level(a.blue, b.blue)};
}

Rgb shade(double t) {
  constexpr double kFade = 0.18;  // below this, colours fade into the paper, so that small weights do not start with a visible step
  return mix(kPaper, cividis(static_cast<uint8_t>(std::floor(255 * (1 - std::clamp(t, 0.0, 1.0)) + 0.5))), std::min(1.0, t / kFade));
}

Rgb ink_on(Rgb colour) {
  const double l = luminance(colour);
  return (l + 0.05) / 0.05 >= 1.05 / (l + 0.05) ? Rgb{0, 0, 0} : Rgb{255, 255, 255};
}

double text_width(std::string_view text, double size) {
  double sum = 0;
  for (size_t at = 0; at < text.size();) sum += width_of(next(text, at));
  return sum * size * kStandIn / 1000;
}

std::string fitted(std::string_view text, double width, double size) {
  if (text_width(text, size) <= width) return std::string(text);
  const double room = width - text_width("…", size);
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    next(text, at);
    if (text_width(text.substr(0, at), size) > room) break;
    end = at;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string svg(const Drawing& d) {
  std::string out = format("{}<title>{}</title>\n<desc>{}</desc>\n<rect x=\"0\" y=\"0\" width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n",
                           svg_head(d), escaped(d.title), escaped(d.description), number(d.width), number(d.height));
  for (const Mark& mark : d.marks) std::visit(SvgWriter{out}, mark);
  return out + "</svg>\n";
}

std::string svg_layer(const Drawing& d, size_t begin, size_t end) {
  std::string out = svg_head(d);
  for (size_t at = begin; at < end; ++at) std::visit(SvgWriter{out}, d.marks[at]);
  return out + "</svg>\n";
}

std::string tikz(const Drawing& d) {
  std::string out = "% ";
  for (const char c : d.title + "\n" + d.description) out += c == '\n' ? std::string("\n% ") : std::string(1, c);
  out +=
      "\n% Needs \\usepackage{tikz} and \\usepackage[T1]{fontenc}; for scripts other than Latin, use XeLaTeX or LuaLaTeX.\n"
      "\\begin{tikzpicture}[x=1bp,y=-1bp,every node/.style={inner sep=0pt,outer sep=0pt,"
      "font=\\sffamily\\fontsize{8}{9}\\selectfont}]\n";
  for (const Mark& mark : d.marks) std::visit(TikzWriter{out}, mark);
  return out + "\\end{tikzpicture}\n";
}

}  // namespace clearhead::viewer::figure
