// JSON values: null, bool, integer, real, string, array, object (fields keep their order).
//
// Only json.cc includes nlohmann-json. Parsing throws kFormat for duplicate keys, trailing text, nesting beyond 64 levels
// and invalid UTF-8. Code that reads an object takes its fields by name through `Fields`, which remembers them and can
// refuse unknown fields.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace clearhead {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(static_cast<int64_t>(value)) {}
  Json(double value) : value_(value) {}
  Json(float value) : value_(static_cast<double>(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  static Json array() { return Json(Array{}); }
  static Json object() { return Json(Object{}); }
  static Json object(std::initializer_list<std::pair<std::string, Json>> fields) { return Json(Object(fields)); }

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  // Accessors throw kFormat, naming the expected and the actual type.
  bool boolean() const;
  int64_t integer() const;  // also accepts a real number with an integral value
  double number() const;
  const std::string& string() const;
  const Array& items() const;
  Array& items();
  const Object& fields() const;
  Object& fields();

  /// The field with this name; null if there is none or this value is not an object.
  const Json* find(std::string_view name) const;
  /// The field with this name, for assignment; it is added if necessary. A null value first becomes an object.
  Json& operator[](std::string_view name);
  void push(Json item);
  size_t size() const;  // number of items of an array or fields of an object; otherwise 0

  /// "null", "true", "12", "\"text\"", "an array of 3": for error messages.
  std::string describe() const;
  /// Compact if indent < 0. Non-finite numbers become null, invalid UTF-8 becomes U+FFFD.
  std::string dump(int indent = -1) const;

  /// `where` names the source in error messages, e.g. "config.json".
  static Json parse(std::string_view text, std::string_view where);

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

/// Reads the fields of one object and refuses fields that were not read.
///   Fields fields(json, "spec.json", "topology.band");
///   offset = fields.integer_or("offset", 0);
///   fields.refuse_rest();                     // kUnsupported: spec.json: field "topology.band.dilation" is not understood; …
class Fields {
 public:
  Fields(const Json& object, std::string_view where, std::string_view path = "");
  const Json* take(std::string_view name);  // null if absent
  const Json& require(std::string_view name);
  int64_t integer(std::string_view name);
  int64_t integer_or(std::string_view name, int64_t otherwise);
  double number_or(std::string_view name, double otherwise);
  bool boolean_or(std::string_view name, bool otherwise);
  std::string string_or(std::string_view name, std::string_view otherwise);
  double number(std::string_view name);
  std::string string(std::string_view name);
  const Json::Array& items(std::string_view name);
  std::vector<std::string> strings(std::string_view name);  // elements of an array
  void refuse_rest() const;
  const std::string& where() const { return where_; }
  std::string path_of(std::string_view name) const;
  [[noreturn]] void wrong(std::string_view name, std::string_view expected, const Json& found) const;

 private:
  const Json& object_;
  std::string where_, path_;
  std::vector<std::string> taken_;
};

}  // namespace clearhead
