// Encodes frames as bytes, and as JSON with inline arrays (viewer/json_text.h).
#include "viewer/frame.h"

#include <bit>
#include <cstring>
#include <utility>

#include "viewer/json_text.h"

namespace clearhead::viewer {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are little-endian");

template <class T>
FrameArray array_of(std::string_view name, const char* dtype, std::span<const T> values, std::vector<int64_t> shape) {
  FrameArray array{std::string(name), dtype, std::move(shape), std::string(values.size_bytes(), '\0')};
  if (array.shape.empty()) array.shape = {static_cast<int64_t>(values.size())};
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), values.size_bytes());
  return array;
}

Json shape_json(const std::vector<int64_t>& shape) {
  Json out = Json::array();
  for (const int64_t size : shape) out.push(size);
  return out;
}

std::string u32_bytes(size_t value) {
  const uint32_t number = static_cast<uint32_t>(value);
  std::string out(4, '\0');
  std::memcpy(out.data(), &number, 4);
  return out;
}

// The elements of an array as JSON: a list of numbers, or a string for utf8.
std::string data_text(const FrameArray& array) {
  return array.dtype == "utf8" ? Json(array.bytes).dump() : numbers_text(array.dtype, array.bytes);
}

}  // namespace

void ViewFrame::add(std::string_view name, std::span<const float> values, std::vector<int64_t> shape) {
  arrays.push_back(array_of(name, "f32", values, std::move(shape)));
}
void ViewFrame::add(std::string_view name, std::span<const uint8_t> values, std::vector<int64_t> shape) {
  arrays.push_back(array_of(name, "u8", values, std::move(shape)));
}
void ViewFrame::add(std::string_view name, std::span<const uint32_t> values, std::vector<int64_t> shape) {
  arrays.push_back(array_of(name, "u32", values, std::move(shape)));
}
void ViewFrame::add(std::string_view name, std::span<const int32_t> values, std::vector<int64_t> shape) {
  arrays.push_back(array_of(name, "i32", values, std::move(shape)));
}
void ViewFrame::add_f16(std::string_view name, std::span<const uint16_t> values, std::vector<int64_t> shape) {
  arrays.push_back(array_of(name, "f16", values, std::move(shape)));
}
void ViewFrame::add_text(std::string_view name, std::string_view bytes) {
  arrays.push_back({std::string(name), "utf8", {static_cast<int64_t>(bytes.size())}, std::string(bytes)});
}

std::string ViewFrame::binary() const {
  Json top = header;
  Json described = Json::object();
  std::vector<size_t> begins;
  size_t offset = 0;
  for (const FrameArray& array : arrays) {
    begins.push_back(offset);
    described[array.name] =
        Json::object({{"dtype", array.dtype}, {"shape", shape_json(array.shape)}, {"offset", static_cast<int64_t>(offset)}});
    offset = (offset + array.bytes.size() + 7) / 8 * 8;
  }
  top["arrays"] = std::move(described);
  std::string text = top.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out = "CHF1" + u32_bytes(text.size()) + text;
  out.reserve(out.size() + offset);
  const size_t payload = out.size();
  for (size_t i = 0; i < arrays.size(); ++i) {
    out.resize(payload + begins[i], '\0');
    out += arrays[i].bytes;
  }
  return out;
}

std::string ViewFrame::json() const {
  ObjectText in_place(Json::object());
  for (const FrameArray& array : arrays) {
    ObjectText one(Json::object({{"dtype", array.dtype}, {"shape", shape_json(array.shape)}}));
    in_place.add(array.name, std::move(one.add("data", data_text(array))).text());
  }
  return std::move(ObjectText(header).add("arrays", std::move(in_place).text())).text();
}

std::string with_length(const std::string& frame) { return u32_bytes(frame.size()) + frame; }

}  // namespace clearhead::viewer
