// Frames: the binary format in which arrays of numbers reach the page, from the server and in the offline file
// (docs/viewer-api.md, "Frames").
//
//   "CHF1" · u32 length H of the header · H bytes of JSON, padded with spaces to a multiple of 8 · arrays, each at an
//   offset that is a multiple of 8
//
// As JSON text, the same frame contains its arrays inline. An f32 is printed with the fewest digits
// that read back as the same f32.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace clearhead::viewer {

struct FrameArray {
  std::string name{};
  std::string dtype{};  ///< u8, u32, i32, f16, f32, utf8
  std::vector<int64_t> shape{};
  std::string bytes{};  ///< little-endian
};

struct ViewFrame {
  Json header = Json::object();
  std::vector<FrameArray> arrays{};

  /// Adds an array. An empty shape means a single axis.
  void add(std::string_view name, std::span<const float> values, std::vector<int64_t> shape = {});
  void add(std::string_view name, std::span<const uint8_t> values, std::vector<int64_t> shape = {});
  void add(std::string_view name, std::span<const uint32_t> values, std::vector<int64_t> shape = {});
  void add(std::string_view name, std::span<const int32_t> values, std::vector<int64_t> shape = {});
  void add_f16(std::string_view name, std::span<const uint16_t> values, std::vector<int64_t> shape = {});
  void add_text(std::string_view name, std::string_view bytes);

  std::string binary() const;
  std::string json() const;
};

/// Receives the frames of a stream.
using TakeFrame = std::function<void(ViewFrame)>;

/// A frame of a stream: its length as u32, followed by the frame.
std::string with_length(const std::string& frame);

}  // namespace clearhead::viewer
