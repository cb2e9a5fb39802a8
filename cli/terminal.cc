// Measures text in columns (characters → graphemes → columns), and truncates and pads it by graphemes. Shades are cividis, in 24
// bits or as the nearest of 256 colours, or block characters. Control characters are made visible, never sent to the terminal.
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/format.h"
#include "observe/picture.h"

namespace clearhead::cli {
namespace {

// Calls f(code point, bytes) for each character; each invalid byte is a character with code point −1.
template <class F>
void for_each_character(std::string_view text, F&& f) {
  size_t at = 0;
  while (at < text.size()) {
    utf8proc_int32_t code = -1;
    const utf8proc_ssize_t used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                                   static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    const size_t size = used > 0 ? static_cast<size_t>(used) : 1;
    f(used > 0 ? code : -1, text.substr(at, size));
    at += size;
  }
}

// Calls f(bytes, columns) for each grapheme cluster. A cluster is as wide as its widest code point; an emoji presentation selector
// or a pair of regional indicators (a flag) makes it two columns wide.
template <class F>
void for_each_grapheme(std::string_view text, F&& f) {
  size_t begin = 0, at = 0;
  int width = 0, flags = 0;
  utf8proc_int32_t before = -1, state = 0;
  for_each_character(text, [&](utf8proc_int32_t code, std::string_view bytes) {
    const bool breaks = at > begin && (code < 0 || before < 0 || utf8proc_grapheme_break_stateful(before, code, &state));
    if (breaks) {
      f(text.substr(begin, at - begin), width);
      begin = at;
      width = flags = 0;
      state = 0;
    }
    flags += code >= 0x1F1E6 && code <= 0x1F1FF;
    const bool wide = code == 0xFE0F || flags == 2;
    width = std::max(width, code < 0 ? 1 : wide ? 2 : std::max(0, utf8proc_charwidth(code)));
    before = code;
    at += bytes.size();
  });
  if (at > begin) f(text.substr(begin, at - begin), width);
}

}  // namespace

int nearest_256(Rgb colour) {
  const auto step = [](uint8_t value) { return (value * 5 + 127) / 255; };
  return 16 + 36 * step(colour.red) + 6 * step(colour.green) + step(colour.blue);
}

Terminal terminal() {
  Terminal out;
  struct winsize size {};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    out.width = size.ws_col;
    out.is_window = true;
  } else if (const char* columns = std::getenv("COLUMNS")) {
    out.width = std::max(20, std::atoi(columns));
    out.is_window = true;
  }
  const auto is = [](const char* name, const char* value) {
    const char* found = std::getenv(name);
    return found && std::string_view(found) == value;
  };
  const char* no_colour = std::getenv("NO_COLOR");
  if (is("CLEARHEAD_COLOR", "true")) {
    out.colours = Colours::kTrue;
  } else if (is("CLEARHEAD_COLOR", "256")) {
    out.colours = Colours::k256;
  } else if (!is("CLEARHEAD_COLOR", "none") && ::isatty(STDOUT_FILENO) && !(no_colour && *no_colour) && !is("TERM", "dumb")) {
    out.colours = is("COLORTERM", "truecolor") || is("COLORTERM", "24bit") ? Colours::kTrue : Colours::k256;
  }
  return out;
}

int display_width(std::string_view text) {
  int width = 0;
  for_each_grapheme(text, [&](std::string_view, int columns) { width += columns; });
  return width;
}

std::vector<std::string> graphemes(std::string_view text) {
  std::vector<std::string> out;
  for_each_grapheme(text, [&](std::string_view bytes, int) { out.emplace_back(bytes); });
  return out;
}

std::string visible(std::string_view text) {
  std::string out;
  for_each_character(text, [&](utf8proc_int32_t code, std::string_view bytes) {
    if (code < 0) {
      out += "\xEF\xBF\xBD";
    } else if (code == '\n') {
      out += "⏎";
    } else if (code == '\t') {
      out += "⇥";
    } else if (code < 0x20 || code == 0x7F) {
      const int symbol = code == 0x7F ? 0x2421 : 0x2400 + code;  // control pictures
      out += static_cast<char>(0xE2);
      out += static_cast<char>(0x80 | ((symbol >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (symbol & 0x3F));
    } else if (utf8proc_category(code) != UTF8PROC_CATEGORY_CC && !(code >= 0x202A && code <= 0x202E) &&
               !(code >= 0x2066 && code <= 0x2069)) {
      out += bytes;
    }
  });
  return out;
}

// The size in bytes of a colour sequence as written by `shaded` at the beginning of `text`; 0 if there is none.
static size_t colour_size(std::string_view text) {
  const bool is_colour = text.rfind("\033[48;", 0) == 0 || text.rfind("\033[38;", 0) == 0 || text.rfind("\033[0m", 0) == 0;
  const size_t end = is_colour ? text.find_first_not_of("0123456789;", 2) : std::string_view::npos;
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

std::string escaped(std::string_view text, bool keep_colours) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  size_t at = 0, colour_end = 0;
  for_each_character(text, [&](utf8proc_int32_t code, std::string_view bytes) {
    if (code == 0x1B && keep_colours) colour_end = std::max(colour_end, at + colour_size(text.substr(at)));
    const bool is_control = (code >= 0 && code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0);
    if (code < 0) {
      out += "\xEF\xBF\xBD";
    } else if (is_control && at >= colour_end) {
      out += "\\u00";
      out += kDigits[code >> 4];
      out += kDigits[code & 15];
    } else {
      out += bytes;
    }
    at += bytes.size();
  });
  return out;
}

std::string fit(std::string_view text, int width, bool right) {
  std::string out;
  int used = 0;
  const bool cut = display_width(text) > width;
  bool full = false;
  for_each_grapheme(text, [&](std::string_view bytes, int columns) {
    full = full || used + columns > width - (cut ? 1 : 0);
    if (full) return;
    out += bytes;
    used += columns;
  });
  if (cut && width > 0) {
    out += "…";
    ++used;
  }
  const std::string blank(static_cast<size_t>(std::max(0, width - used)), ' ');
  return right ? blank + out : out + blank;
}

std::string cut(std::string_view text, int width) { return fit(text, std::min(width, display_width(text))); }

std::string shaded(const Terminal& terminal, std::string_view text, double level) {
  level = std::clamp(level, 0.0, 1.0);
  if (terminal.colours == Colours::kNone) return std::string(text);
  const Rgb back = cividis(static_cast<uint8_t>(std::lround(level * 255)));
  const bool dark = level < 0.55;  // cividis is uniform in lightness: white text is legible below this level, black above
  const std::string colour = terminal.colours == Colours::kTrue
                                 ? format("\033[48;2;{};{};{}m\033[38;2;{}m", static_cast<int>(back.red), static_cast<int>(back.green),
                                          static_cast<int>(back.blue), dark ? "255;255;255" : "0;0;0")
                                 : format("\033[48;5;{}m\033[38;5;{}m", nearest_256(back), dark ? 231 : 16);
  return colour + std::string(text) + "\033[0m";
}

std::string percent(double probability) {
  const double value = probability * 100;
  return format(value > 0 && value < 0.005 ? "{:.1e} %" : "{:.2f} %", value);
}

std::string bar(double level) {
  static constexpr const char* kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  return kBars[std::clamp<int>(static_cast<int>(std::ceil(level * 8 - 0.25)), 0, 8)];
}

std::vector<Box> boxes_of(const RunText& text, int64_t tokens) {
  std::vector<Box> out;
  std::array<int64_t, 2> bytes{0, 0};
  int64_t last = 0;  // the end of the boxes so far, in bytes of the text
  for (size_t i = 0; i < std::min(text.ids.size(), static_cast<size_t>(tokens)); ++i) {
    const auto [begin, end] = text.offsets[i];
    const int64_t at = static_cast<int64_t>(i);
    if (text.special[i] || end <= begin || at >= text.tokens()) {
      out.push_back({at, at + 1, text.pieces[i], true});
      bytes = {0, 0};
      continue;
    }
    if (!out.empty() && !out.back().special && begin < bytes[1]) {
      bytes[1] = std::max(bytes[1], end);
      out.back().end = at + 1;
    } else {
      out.push_back(
          {at, at + 1, "", false, text.text.substr(static_cast<size_t>(last), static_cast<size_t>(std::max<int64_t>(0, begin - last)))});
      bytes = {begin, end};
    }
    last = std::max(last, bytes[1]);
    out.back().label = text.text.substr(static_cast<size_t>(bytes[0]), static_cast<size_t>(bytes[1] - bytes[0]));
  }
  return out;
}

}  // namespace clearhead::cli
