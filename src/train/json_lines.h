// JSON lines: an object a line, of which some fields are texts. A text is a string, or a list of strings, which a blank joins.
//
// One line is parsed at a time; no more of a file than that is ever held.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

/// By the file's name, which ends in ".jsonl".
bool is_json_lines(std::string_view name);

/// Bytes [begin, end) of a file, which are whole lines.
struct LineRange {
  size_t begin = 0, end = std::string_view::npos;
};
/// Calls `take` with the texts of these fields, in this order, for each line of the range.   path: of the file, for messages
/// Throws kFormat naming the line where it is no object, a field is missing or no text, or the range begins or ends inside it.
void for_each_json_line(std::string_view bytes, const std::string& path, const std::vector<std::string>& fields, LineRange range,
                        const std::function<void(const std::vector<std::string>&)>& take);

}  // namespace clearhead
