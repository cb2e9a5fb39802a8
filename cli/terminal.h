// Text and shades in a terminal: its colours and width, and the width of text.
//
// 24-bit colour if COLORTERM says so, 256 colours on other terminals, and ▁▂▃▄▅▆▇█ with NO_COLOR or in a pipe, so that no
// information depends on colour alone.
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
  bool is_window = false;  ///< false if the width is unknown, as in a pipe; `width` then has its default
};
/// The terminal of standard output. CLEARHEAD_COLOR=none|256|true overrides the colours.
Terminal terminal();

/// Columns that UTF-8 text occupies: 2 for a CJK character and most emoji, 0 for combining marks.
int display_width(std::string_view text);
/// The grapheme clusters of a text: letters with their combining marks, emoji sequences.
std::vector<std::string> graphemes(std::string_view text);
/// Replaces ASCII control characters and line breaks by visible symbols (⏎, ⇥, ␀ …), and invalid UTF-8 by U+FFFD. Removes C1 controls
/// and bidirectional overrides, embeddings and isolates.
std::string visible(std::string_view text);
/// Makes `text` safe for a terminal: control characters other than line breaks and tabs become escapes like \u001b (valid in JSON,
/// too), invalid UTF-8 becomes U+FFFD. `keep_colours` keeps the colour sequences that `shaded` writes; all other escape characters
/// are replaced.
std::string escaped(std::string_view text, bool keep_colours = false);
/// Truncates to `width` columns with a final …, or pads to exactly `width`; `right` aligns to the right.
std::string fit(std::string_view text, int width, bool right = false);

/// Truncates to at most `width` columns; if text was removed, the last column is ….
std::string cut(std::string_view text, int width);

/// `text` on a background shaded by `level` (0 … 1).
std::string shaded(const Terminal& terminal, std::string_view text, double level);
/// The nearest colour in the 6 × 6 × 6 cube of xterm's 256 colours.
int nearest_256(Rgb colour);
/// A probability as "12.34 %"; one that would be shown as 0.00 % has two significant digits instead, "1.2e-05 %".
std::string percent(double probability);
/// One of ▁▂▃▄▅▆▇█ for a level from 0 to 1; a space for 0.
std::string bar(double level);

/// A unit of text for display. Neighbouring tokens whose byte ranges overlap (parts of one character) form one box.
struct Box {
  int64_t begin = 0, end = 0;  ///< tokens
  std::string label{};         ///< the bytes of the text, or the name of a special token or an item
  bool special = false;
  std::string gap{};  ///< the text between it and the box before: spaces, line breaks
};
/// Boxes of the first `tokens` tokens. (A map lacks the last generated token, which the model never read.)
std::vector<Box> boxes_of(const RunText& text, int64_t tokens);

}  // namespace clearhead::cli
