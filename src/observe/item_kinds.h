// The kinds of items that partition a picture: patches of an image, frames of a spectrogram, intervals of a curve. Such items
// cover no text. Every other kind may cover text, and has a picture only if each item has a bounding box in it (ItemRange::boxes). A new way to
// partition a picture is one more row of the table.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace clearhead {

inline constexpr int64_t kMostPixels = 4096;  ///< on a side of ItemRange::picture

struct PictureItem {
  std::string_view name;    ///< ItemRange::kind
  std::string_view plural;  ///< for messages
  bool in_rows = false;     ///< the items are arranged in ItemRange::rows rows; otherwise from left to right
  bool of_steps = false;    ///< each item covers an equal number of rows of the model's features, one for each column of the picture
};

inline constexpr std::array<PictureItem, 3> kPictureItems = {{
    {.name = "patch", .plural = "patches", .in_rows = true},
    {.name = "frame", .plural = "frames", .of_steps = true},
    {.name = "interval", .plural = "intervals"},
}};

/// The row of a kind; null for items that are not parts of a picture.
constexpr const PictureItem* picture_item(std::string_view kind) {
  const auto found = std::find_if(kPictureItems.begin(), kPictureItems.end(), [&](const PictureItem& one) { return one.name == kind; });
  return found == kPictureItems.end() ? nullptr : &*found;
}

}  // namespace clearhead
