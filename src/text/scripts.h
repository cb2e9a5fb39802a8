// Scripts of characters, as far as counting words needs them.
//
// Words of most languages are separated by spaces. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan are written
// without them: metrics that compare words treat each of their characters as a word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead::text {

/// True for letters, digits and marks of a script that does not separate words: Han, kana, Bopomofo, Yi, Thai, Lao, Tibetan,
/// Burmese, Khmer.
bool is_written_without_spaces(char32_t c);
/// True for Latin letters, including accented and full-width ones.
bool is_latin(char32_t c);

/// True if most letters of these texts belong to scripts written without spaces. Invalid UTF-8 is skipped.
bool are_written_without_spaces(const std::vector<std::string>& texts);

}  // namespace clearhead::text
