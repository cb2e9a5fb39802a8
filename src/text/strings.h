// Strings as Python has them, for results that are held against programs written in Python: white space, str.strip(), str.split(), str.lower().
//
// White space is White_Space and the four information separators U+001C..U+001F. All texts given must be valid UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead::text {

/// What str.isspace() and \s of a regular expression accept.
bool is_blank(char32_t c);

/// The text without the blanks at its end; at both ends.
std::string_view strip_end(std::string_view text);
std::string_view strip(std::string_view text);

/// What stands between blanks, no part empty.
std::vector<std::string_view> split_at_blanks(std::string_view text);

/// Lower case by str.lower(): a capital sigma becomes ς where it ends a word, σ elsewhere (Final_Sigma of the Unicode standard, section 3.13).
std::string lower(std::string_view text);

}  // namespace clearhead::text
