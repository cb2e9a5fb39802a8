// Parses with nlohmann's SAX interface and writes with its dump. Limits (depth, number of values, duplicate keys) are
// checked during parsing, so a hostile file costs no more than the limits allow.
#include "base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/format.h"

namespace clearhead {
namespace {

constexpr size_t kMaximumDepth = 64;
constexpr size_t kMaximumValues =
    size_t{1} << 23;  // four times as many as in the largest vocabularies; even a hostile text needs less than 1 GiB of memory

// Builds a Json from nlohmann's SAX events, so that there is never a second tree in memory.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(Json& root, std::string_view where) : root_(root), where_(where) {}

  bool null() override { return put(Json()); }
  bool boolean(bool value) override { return put(Json(value)); }
  bool number_integer(number_integer_t value) override { return put(Json(static_cast<int64_t>(value))); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return put(Json(static_cast<double>(value)));
    return put(Json(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return put(Json(static_cast<double>(value))); }
  bool string(string_t& value) override { return put(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json(Json::Object{})); }
  bool start_array(size_t) override { return open(Json(Json::Array{})); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    // Duplicates are found by a sort when the object closes, because vocabularies have 100,000 keys.
    pending_.push_back(std::move(name));
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string reason = error.what();
    if (error.id == 406) reason = "- a number beyond the range of a double";  // nlohmann's text repeats the number at any length
    const size_t cut = reason.find("; last read");
    const size_t start = reason.find("- ");
    if (start != std::string::npos) reason = reason.substr(start + 2, cut == std::string::npos ? cut : cut - start - 2);
    fail(ErrorCode::kFormat, "{}: not valid JSON at byte {}: {}", where_, position, reason);
  }

 private:
  bool put(Json value) {
    place(std::move(value));
    return true;
  }
  Json* place(Json value) {
    if (++values_ > kMaximumValues)
      fail(ErrorCode::kFormat, "{}: JSON holds more than {} values", where_, with_commas(int64_t{kMaximumValues}));
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.items().push_back(std::move(value));
      return &parent.items().back();
    }
    parent.fields().emplace_back(std::move(pending_.back()), std::move(value));
    pending_.pop_back();
    return &parent.fields().back().second;
  }
  bool open(Json value) {
    if (open_.size() >= kMaximumDepth) fail(ErrorCode::kFormat, "{}: JSON is nested deeper than {} levels", where_, kMaximumDepth);
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    if (open_.back()->is_object()) refuse_duplicates(open_.back()->fields());
    open_.pop_back();
    return true;
  }
  void refuse_duplicates(const Json::Object& fields) const {
    std::vector<std::string_view> names;
    names.reserve(fields.size());
    for (const auto& [name, value] : fields) names.push_back(name);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fail(ErrorCode::kFormat, "{}: field \"{}\" is given twice", where_, *twice);
  }

  Json& root_;
  std::string where_;
  size_t values_ = 0;
  std::vector<Json*> open_;           // containers being filled; pointers stay valid: a parent never grows while its child is open
  std::vector<std::string> pending_;  // keys without a value so far
};

nlohmann::ordered_json to_nlohmann(const Json& json) {
  using Out = nlohmann::ordered_json;
  if (json.is_null()) return nullptr;
  if (json.is_bool()) return json.boolean();
  if (json.is_integer()) return json.integer();
  if (json.is_number()) return json.number();
  if (json.is_string()) return json.string();
  if (json.is_array()) {
    Out out = Out::array();
    for (const Json& item : json.items()) out.push_back(to_nlohmann(item));
    return out;
  }
  Out::object_t out;
  for (const auto& [name, value] : json.fields()) out.emplace_back(name, to_nlohmann(value));
  return out;
}

[[noreturn]] void wrong_kind(const char* expected, const Json& found) {
  fail(ErrorCode::kFormat, "JSON: expected {}, found {}", expected, found.describe());
}

}  // namespace

bool Json::boolean() const {
  if (!is_bool()) wrong_kind("true or false", *this);
  return std::get<bool>(value_);
}

int64_t Json::integer() const {
  if (is_integer()) return std::get<int64_t>(value_);
  if (const double* real = std::get_if<double>(&value_)) {
    if (std::floor(*real) == *real && std::abs(*real) < 9.0e15) return static_cast<int64_t>(*real);
  }
  wrong_kind("an integer", *this);
}

double Json::number() const {
  if (is_integer()) return static_cast<double>(std::get<int64_t>(value_));
  if (const double* real = std::get_if<double>(&value_)) return *real;
  wrong_kind("a number", *this);
}

const std::string& Json::string() const {
  if (!is_string()) wrong_kind("a string", *this);
  return std::get<std::string>(value_);
}

const Json::Array& Json::items() const {
  if (!is_array()) wrong_kind("an array", *this);
  return std::get<Array>(value_);
}

Json::Array& Json::items() {
  if (!is_array()) wrong_kind("an array", *this);
  return std::get<Array>(value_);
}

const Json::Object& Json::fields() const {
  if (!is_object()) wrong_kind("an object", *this);
  return std::get<Object>(value_);
}

Json::Object& Json::fields() {
  if (!is_object()) wrong_kind("an object", *this);
  return std::get<Object>(value_);
}

const Json* Json::find(std::string_view name) const {
  if (!is_object()) return nullptr;
  for (const auto& [key, value] : fields()) {
    if (key == name) return &value;
  }
  return nullptr;
}

Json& Json::operator[](std::string_view name) {
  if (is_null()) value_ = Object{};
  Object& all = fields();
  for (auto& [key, value] : all) {
    if (key == name) return value;
  }
  all.emplace_back(std::string(name), Json());
  return all.back().second;
}

void Json::push(Json item) {
  if (is_null()) value_ = Array{};
  items().push_back(std::move(item));
}

size_t Json::size() const {
  if (is_array()) return items().size();
  if (is_object()) return fields().size();
  return 0;
}

std::string Json::describe() const {
  if (is_array()) return format("an array of {}", size());
  if (is_object()) return "an object";
  std::string text = dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

std::string Json::dump(int indent) const { return to_nlohmann(*this).dump(indent, ' ', false, nlohmann::json::error_handler_t::replace); }

Json Json::parse(std::string_view text, std::string_view where) {
  // nlohmann treats a NUL as the end of its input, although the text may continue.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail(ErrorCode::kFormat, "{}: not valid JSON at byte {}: a NUL byte", where, nul);
  }
  if (text.empty()) fail(ErrorCode::kFormat, "{}: not valid JSON: it is empty", where);
  Json root;
  Builder builder(root, where);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return root;
}

Fields::Fields(const Json& object, std::string_view where, std::string_view path) : object_(object), where_(where), path_(path) {
  if (!object.is_object()) {
    fail(ErrorCode::kFormat, "{}: {}: expected an object, found {}", where_, path_.empty() ? "the document" : path_, object.describe());
  }
}

std::string Fields::path_of(std::string_view name) const { return path_.empty() ? std::string(name) : path_ + "." + std::string(name); }

const Json* Fields::take(std::string_view name) {
  const Json* found = object_.find(name);
  if (found) taken_.emplace_back(name);
  return found;
}

const Json& Fields::require(std::string_view name) {
  const Json* found = take(name);
  if (!found) fail(ErrorCode::kFormat, "{}: field \"{}\" is missing", where_, path_of(name));
  return *found;
}

void Fields::wrong(std::string_view name, std::string_view expected, const Json& found) const {
  fail(ErrorCode::kFormat, "{}: \"{}\": expected {}, found {}", where_, path_of(name), expected, found.describe());
}

int64_t Fields::integer(std::string_view name) {
  const Json& value = require(name);
  if (!value.is_number() || std::floor(value.number()) != value.number()) wrong(name, "an integer", value);
  return value.integer();
}

int64_t Fields::integer_or(std::string_view name, int64_t otherwise) {
  const Json* value = take(name);
  if (!value || value->is_null()) return otherwise;
  if (!value->is_number() || std::floor(value->number()) != value->number()) wrong(name, "an integer", *value);
  return value->integer();
}

double Fields::number_or(std::string_view name, double otherwise) {
  const Json* value = take(name);
  if (!value || value->is_null()) return otherwise;
  if (!value->is_number()) wrong(name, "a number", *value);
  return value->number();
}

bool Fields::boolean_or(std::string_view name, bool otherwise) {
  const Json* value = take(name);
  if (!value || value->is_null()) return otherwise;
  if (!value->is_bool()) wrong(name, "true or false", *value);
  return value->boolean();
}

std::string Fields::string_or(std::string_view name, std::string_view otherwise) {
  const Json* value = take(name);
  if (!value || value->is_null()) return std::string(otherwise);
  if (!value->is_string()) wrong(name, "a string", *value);
  return value->string();
}

double Fields::number(std::string_view name) {
  const Json& value = require(name);
  if (!value.is_number()) wrong(name, "a number", value);
  return value.number();
}

std::string Fields::string(std::string_view name) {
  const Json& value = require(name);
  if (!value.is_string()) wrong(name, "a string", value);
  return value.string();
}

const Json::Array& Fields::items(std::string_view name) {
  const Json& value = require(name);
  if (!value.is_array()) wrong(name, "an array", value);
  return value.items();
}

std::vector<std::string> Fields::strings(std::string_view name) {
  std::vector<std::string> out;
  for (const Json& item : items(name)) {
    if (!item.is_string()) wrong(name, "an array of strings", item);
    out.push_back(item.string());
  }
  return out;
}

void Fields::refuse_rest() const {
  for (const auto& [name, value] : object_.fields()) {
    if (std::find(taken_.begin(), taken_.end(), name) == taken_.end()) {
      fail(ErrorCode::kUnsupported, "{}: field \"{}\" is not understood; remove it, or use a version of clearhead that knows it", where_,
           path_of(name));
    }
  }
}

}  // namespace clearhead
