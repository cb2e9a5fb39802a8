// Formats numbers with shortest_text and to_string, and names with Json.
#include "viewer/json_text.h"

#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/number.h"

namespace clearhead::viewer {
namespace {

void append(std::string& out, float value) { out += std::isfinite(value) ? shortest_text(value) : "null"; }

template <class T>
std::string list_of(std::string_view bytes) {
  std::string out = "[";
  for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    if (at > 0) out += ',';
    if constexpr (std::is_same_v<T, float>) {
      append(out, value);
    } else {
      out += std::to_string(value);
    }
  }
  return out + "]";
}

}  // namespace

std::string numbers_text(std::span<const float> values) {
  return list_of<float>({reinterpret_cast<const char*>(values.data()), values.size_bytes()});
}

std::string numbers_text(std::string_view dtype, std::string_view bytes) {
  if (dtype == "u8") return list_of<uint8_t>(bytes);
  if (dtype == "u32") return list_of<uint32_t>(bytes);
  if (dtype == "i32") return list_of<int32_t>(bytes);
  if (dtype == "f16") return list_of<uint16_t>(bytes);
  if (dtype == "f32") return list_of<float>(bytes);
  return "[]";
}

std::string array_text(const std::vector<std::string>& items) {
  std::string out = "[";
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ',';
    out += items[i];
  }
  return out + "]";
}

ObjectText::ObjectText(const Json& fields) : text_(fields.dump()) { text_.pop_back(); }

ObjectText& ObjectText::add(std::string_view name, std::string_view json) {
  if (text_.size() > 1) text_ += ',';
  text_ += Json(name).dump();
  text_ += ':';
  text_ += json;
  return *this;
}

std::string ObjectText::text() && { return std::move(text_) + "}"; }

}  // namespace clearhead::viewer
