// Scripts of characters, as far as counting words needs them.
//
// Words of most languages are separated by spaces. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan are written without them:
// measures that compare words take each of their characters for one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead::text {

/// Letters, digits and marks of a script that separates no words: Han, kana, Bopomofo, Yi, Thai, Lao, Tibetan, Burmese, Khmer.
bool is_written_without_spaces(char32_t c);
/// Latin letters, accented ones included; full-width ones too.
bool is_latin(char32_t c);

/// Whether most letters of these texts belong to scripts written without spaces. Invalid UTF-8 is skipped.
bool are_written_without_spaces(const std::vector<std::string>& texts);

}  // namespace clearhead::text
