// Turns of a dialogue as one text, which an encoder-decoder reads before it writes the next turn: a line each, oldest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace clearhead {

/// The text on one line: line breaks inside become blanks, those at its end are left out.
std::string as_line(std::string text);

/// The last `before` of turns [0, end), with a line break between two. Empty for `before` = 0.
std::string joined_turns(const std::vector<std::string>& turns, size_t end, int64_t before);

/// The text without its first line; empty if it has one line.
std::string without_oldest_turn(const std::string& joined);

}  // namespace clearhead
