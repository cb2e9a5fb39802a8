// Joins turns of a dialogue into one text, from which an encoder-decoder generates the next turn: one line per turn, the
// oldest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace clearhead {

/// The text on one line: line breaks inside become spaces, those at its end are removed.
std::string as_line(std::string text);

/// Joins the last `before` of turns [0, end) with line breaks. Empty for `before` = 0.
std::string joined_turns(const std::vector<std::string>& turns, size_t end, int64_t before);

/// The text without its first line; empty if it has one line.
std::string without_oldest_turn(const std::string& joined);

}  // namespace clearhead
