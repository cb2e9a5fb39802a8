// A literal is searched from left to right, without overlap; a regular expression is matched by PCRE2.
#include "text/pattern.h"

#include "base/format.h"

namespace clearhead::text {

Pattern::Pattern(const Json& json, std::string_view where, std::string_view path) {
  Fields fields(json, where, path);
  const Json* literal = fields.take("String");
  const Json* expression = fields.take("Regex");
  fields.refuse_rest();
  const Json* given = literal ? literal : expression;
  if (!given || (literal && expression) || !given->is_string()) {
    fail(ErrorCode::kFormat, "{}: \"{}\": expected {{\"String\": …}} or {{\"Regex\": …}}, found {}", where, path, json.describe());
  }
  if (literal) {
    literal_ = literal->string();
    return;
  }
  expression_ = expression->string();
  regex_.emplace(*expression_, format("{}: \"{}\"", where, path));
}

std::vector<std::pair<size_t, size_t>> Pattern::find_all(std::string_view text) const {
  if (regex_) return regex_->find_all(text);
  std::vector<std::pair<size_t, size_t>> found;
  if (literal_.empty()) return found;
  for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size())) {
    found.emplace_back(at, at + literal_.size());
  }
  return found;
}

}  // namespace clearhead::text
