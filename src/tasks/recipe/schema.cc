// Reads single values of a recipe, checks their ranges, and describes the ranges in words.
#include "tasks/recipe/schema.h"

namespace clearhead::tasks::schema {

std::string describe(IntegerRange range) {
  if (range.most == IntegerRange{}.most) return format("an integer of {} or more", with_commas(range.least));
  return format("an integer from {} to {}", with_commas(range.least), with_commas(range.most));
}

std::string describe(NumberRange range) { return format("a number from {} to {}", range.least, range.most); }

int64_t read_integer(Fields& fields, const char* name, int64_t otherwise, IntegerRange range) {
  const int64_t value = fields.integer_or(name, otherwise);
  if (value < range.least) fields.wrong(name, describe(range), Json(value));
  const bool is_bounded = range.most != IntegerRange{}.most;
  if (value > range.most)
    fields.wrong(name, is_bounded ? describe(range) : format("an integer of at most {}", with_commas(range.most)), Json(value));
  return value;
}

double read_number(Fields& fields, const char* name, double otherwise, NumberRange range) {
  const double value = fields.number_or(name, otherwise);
  if (!(value >= range.least && value <= range.most)) {
    const Json* given = fields.take(name);
    fields.wrong(name, describe(range), given ? *given : Json(value));
  }
  return value;
}

std::vector<std::string> read_files(Fields& fields, const char* name, bool is_required) {
  const Json* given = is_required ? &fields.require(name) : fields.take(name);
  if (!given) return {};
  std::vector<std::string> out;
  for (const Json& file : given->is_array() ? given->items() : Json::Array{*given}) {
    if (!file.is_string() || file.string().empty()) fields.wrong(name, "a file, or a list of files", *given);
    out.push_back(file.string());
  }
  return out;
}

std::string read_column(Fields& fields, const char* name, bool is_required) {
  const Json* given = is_required ? &fields.require(name) : fields.take(name);
  if (!given) return "";
  if (given->is_string() && !given->string().empty()) return given->string();
  if (!given->is_integer() || given->integer() < 1) fields.wrong(name, "a column, counted from 1, or the name of a field", *given);
  return std::to_string(given->integer());
}

std::string alternatives(const std::vector<std::string>& names) {
  std::string out;
  for (size_t at = 0; at < names.size(); ++at) out += (at == 0 ? "" : at + 1 == names.size() ? " or " : ", ") + names[at];
  return out;
}

std::string shown(const std::string& text) { return text.empty() ? "none" : text; }

}  // namespace clearhead::tasks::schema
