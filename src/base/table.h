// Tables as text: one row per line, cells separated by tabs, no quotes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace clearhead {

/// Calls take(line, number) for each line, counted from 1, without "\n" or "\r\n". Text after the last line end is a
/// line if it is not empty.
void for_each_line(std::string_view text, const std::function<void(std::string_view line, int64_t number)>& take);

/// The cells between tabs, empty ones included.
std::vector<std::string_view> cells_of(std::string_view line);

}  // namespace clearhead
