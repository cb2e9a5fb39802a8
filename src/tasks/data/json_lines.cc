// Parses the lines of a .jsonl file one by one. An error names the file, the line and the object's fields.
#include "tasks/data/json_lines.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::tasks {
namespace {

std::string names_of(const Json& object) {
  constexpr size_t kMost = 20;
  std::string out;
  for (size_t at = 0; at < std::min(object.size(), kMost); ++at) out += (at == 0 ? "" : ", ") + Json(object.fields()[at].first).describe();
  if (object.size() == 0) return "no field";
  return object.size() > kMost ? out + ", ..." : out;
}

const Json& value_of(const Json& line, const std::string& field, const std::string& where) {
  const Json* value = line.find(field);
  if (!value) fail(ErrorCode::kFormat, "{}: expected a field \"{}\", found {}", where, field, names_of(line));
  return *value;
}

}  // namespace

std::string text_of(const Json& line, const std::string& field, const std::string& where) {
  const Json* value = &value_of(line, field, where);
  if (value->is_string()) return value->string();
  const auto wrong = [&](const std::string& found) {
    fail(ErrorCode::kFormat, "{}: \"{}\": expected a string or a list of strings, found {}", where, field, found);
  };
  if (!value->is_array()) wrong(value->describe());
  std::string out;
  for (const Json& part : value->items()) {
    if (!part.is_string()) wrong("a list with " + part.describe() + " in it");
    if (&part != value->items().data()) out += ' ';
    out += part.string();
  }
  return out;
}

bool is_json_lines(std::string_view name) { return name.ends_with(".jsonl"); }

void for_each_json_object(std::string_view bytes, const std::string& path, LineRange range,
                          const std::function<void(const Json& line, const std::string& where)>& take) {
  const size_t last = std::min(range.end, bytes.size());
  int64_t number = 1;
  for (size_t begin = 0, end = 0; begin < last; begin = end, ++number) {
    const size_t found = bytes.find('\n', begin), stop = std::min(found, bytes.size());
    end = stop == bytes.size() ? stop : stop + 1;
    if (end <= range.begin) continue;
    const std::string where = format("{}, line {}", path, number);
    if (begin < range.begin || stop > last) {
      fail(ErrorCode::kFormat, "{}: the line is split at byte {}; expected splits at the ends of lines", where,
           begin < range.begin ? range.begin : last);
    }
    const Json line = Json::parse(bytes.substr(begin, stop - begin), where);
    if (!line.is_object()) fail(ErrorCode::kFormat, "{}: expected an object, found {}", where, line.describe());
    take(line, where);
  }
}

void for_each_json_line(std::string_view bytes, const std::string& path, const std::vector<std::string>& fields, LineRange range,
                        const std::function<void(const std::vector<std::string>&)>& take) {
  std::vector<std::string> texts(fields.size());
  for_each_json_object(bytes, path, range, [&](const Json& line, const std::string& where) {
    std::transform(fields.begin(), fields.end(), texts.begin(), [&](const std::string& field) { return text_of(line, field, where); });
    take(texts);
  });
}

void for_each_json_list(std::string_view bytes, const std::string& path, const std::string& field,
                        const std::function<void(std::vector<std::string>)>& take) {
  for_each_json_object(bytes, path, {}, [&](const Json& line, const std::string& where) {
    const Json& list = value_of(line, field, where);
    if (!list.is_array()) fail(ErrorCode::kFormat, "{}: \"{}\": expected a list of strings, found {}", where, field, list.describe());
    std::vector<std::string> texts;
    for (const Json& item : list.items()) {
      if (!item.is_string())
        fail(ErrorCode::kFormat, "{}: \"{}\": expected a list of strings, found {} in it", where, field, item.describe());
      texts.push_back(item.string());
    }
    take(std::move(texts));
  });
}

}  // namespace clearhead::tasks
