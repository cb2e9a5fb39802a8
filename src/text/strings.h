// String functions of Python, for results that must equal those of Python programs: white space, str.strip(), str.split(),
// str.lower().
//
// White space is Unicode's White_Space and the four information separators U+001C..U+001F. All texts must be valid UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead::text {

/// True for the characters that str.isspace() and \s of a regular expression accept.
bool is_blank(char32_t c);

/// The text without the white space at its end.
std::string_view strip_end(std::string_view text);
/// The text without the white space at both ends.
std::string_view strip(std::string_view text);

/// The parts of the text between white space, without empty ones.
std::vector<std::string_view> split_at_blanks(std::string_view text);

/// Lower case as str.lower(): a capital sigma becomes ς at the end of a word, σ elsewhere (Final_Sigma of the Unicode
/// standard, section 3.13).
std::string lower(std::string_view text);

}  // namespace clearhead::text
