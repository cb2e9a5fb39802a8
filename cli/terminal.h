// Words and shades in a terminal: how many colours it has, how wide it is, how wide text is in it.
//
// 24-bit colour where COLORTERM says so, 256 colours on other terminals, and ▁▂▃▄▅▆▇█ under NO_COLOR or in a pipe: nothing is said by colour alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/observer.h"
#include "clearhead/tensor.h"
#include "observe/picture.h"

namespace clearhead::cli {

enum class Colours { kNone, k256, kTrue };

struct Terminal {
  Colours colours = Colours::kNone;
  int width = 80;
  bool is_window = false;  ///< false: the width is a guess, as in a pipe
};
/// Of standard output. CLEARHEAD_COLOR=none|256|true forces one.
Terminal terminal();

/// Columns that UTF-8 text takes: 2 for CJK and most emoji, 0 for marks that join.
int display_width(std::string_view text);
/// What stands in one place each: letters with their marks, emoji with what is joined to them.
std::vector<std::string> graphemes(std::string_view text);
/// Control characters and line breaks made visible (⏎, ⇥, ␀ …), invalid UTF-8 as U+FFFD.
std::string visible(std::string_view text);
/// `text` as a terminal may have it: control characters other than line breaks and tabs as \u001b (valid in JSON, too), invalid UTF-8 as U+FFFD.
/// `keep_colours` leaves the colours that `shaded` sets: no other sequence begins with an escape character.
std::string escaped(std::string_view text, bool keep_colours = false);
/// Cut to `width` columns with … and padded to exactly `width`; right-aligned when asked.
std::string fit(std::string_view text, int width, bool right = false);

/// At most `width` columns, the last of them … where text was cut.
std::string cut(std::string_view text, int width);

/// `text` on a background of that level (0 … 1).
std::string shaded(const Terminal& terminal, std::string_view text, double level);
/// The nearest of the 6 × 6 × 6 cube of xterm's 256 colours.
int nearest_256(Rgb colour);
/// A probability as "12.34 %"; one that this would show as 0.00 % with two significant digits, "1.2e-05 %".
std::string percent(double probability);
/// One of ▁▂▃▄▅▆▇█, a blank for 0.
std::string bar(double level);

/// What people read as one unit: neighbouring tokens whose bytes share a character stand in one box.
struct Box {
  int64_t begin = 0, end = 0;  ///< tokens
  std::string label{};         ///< as read: the bytes of the text, or the name of a special token or an item
  bool special = false;
  std::string gap{};  ///< the text between it and the box before: spaces, line breaks
};
/// Boxes of the first `tokens` tokens: a map lacks the one generated last, which was never read.
std::vector<Box> boxes_of(const RunText& text, int64_t tokens);

}  // namespace clearhead::cli
