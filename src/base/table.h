// Tables as text: a row a line, a tab between cells, no quotes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace clearhead {

/// Calls take(line, number) for each line, counted from 1, without its end ("\n" or "\r\n"). What follows the last end is a line where it is not empty.
void for_each_line(std::string_view text, const std::function<void(std::string_view line, int64_t number)>& take);

/// What stands between tabs: one cell more than there are tabs, empty ones too.
std::vector<std::string_view> cells_of(std::string_view line);

}  // namespace clearhead
