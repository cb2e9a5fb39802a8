// Tables as text: one row per line, cells separated by tabs, no quotes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace clearhead {

/// Calls take(line, number) for each line, without its "\n" or "\r\n"; numbers count from 1. Text after the last line
/// break is a line if it is not empty.
void for_each_line(std::string_view text, const std::function<void(std::string_view line, int64_t number)>& take);

/// Splits a line at its tabs; empty cells are kept.
std::vector<std::string_view> cells_of(std::string_view line);

}  // namespace clearhead
