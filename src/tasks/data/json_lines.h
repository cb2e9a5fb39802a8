// JSON lines: one object per line; some of its fields are texts. A text is a string, or a list of strings, which are
// joined with spaces.
//
// Lines are parsed one at a time, so no more than one line is in memory.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace clearhead::tasks {

/// True if the name ends in ".jsonl".
bool is_json_lines(std::string_view name);

/// Bytes [begin, end) of a file; they must be whole lines.
struct LineRange {
  size_t begin = 0, end = std::string_view::npos;
};
/// Calls `take` for each line of the range with its object and its location ("a.jsonl, line 2", for messages). Throws kFormat,
/// naming the line, if it is not an object, or if the range starts or ends inside the line.
void for_each_json_object(std::string_view bytes, const std::string& path, LineRange range,
                          const std::function<void(const Json& line, const std::string& where)>& take);
/// The text of a field. Throws kFormat with `where` if it is missing or not a text.
std::string text_of(const Json& line, const std::string& field, const std::string& where);
/// Calls `take` for each line of the range with the texts of these fields, in this order. path: the file's path, for messages.
/// Throws as for_each_json_object() and text_of().
void for_each_json_line(std::string_view bytes, const std::string& path, const std::vector<std::string>& fields, LineRange range,
                        const std::function<void(const std::vector<std::string>&)>& take);
/// Calls `take` for each line with the texts of a field that is a list of strings, such as the turns of a dialogue.
/// Throws kFormat, naming the line, if it is not an object, or the field is missing or not such a list.
void for_each_json_list(std::string_view bytes, const std::string& path, const std::string& field,
                        const std::function<void(std::vector<std::string>)>& take);

}  // namespace clearhead::tasks
