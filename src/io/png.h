// PNG files, written and read. A written picture carries its description in text chunks (tEXt, or iTXt if the
// text is not Latin-1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/image.h"

namespace clearhead::io {

/// Keyword (1 to 79 Latin-1 characters, PNG 11.3.4.2) and text (UTF-8 without NUL), in writing order.
using PngText = std::vector<std::pair<std::string, std::string>>;

/// The complete file in memory. Throws kInvalidArgument if the pixels do not fit the size, for sides outside
/// 1 … 1,000,000, or for a malformed text entry.
std::string png_bytes(const Image& image, const PngText& text = {});
/// The same, to a file that appears complete or not at all. Also throws kIo.
void write_png(const std::string& path, const Image& image, const PngText& text = {});

/// Decodes a PNG file to 1 or 3 channels, without alpha. Throws, naming `where`, kFormat for damaged files, kBudget for
/// more than most_pixels pixels.
Image decode_png(std::string_view bytes, const std::string& where, int64_t most_pixels);
/// [channels, height, width] that decode_png would return, from the header alone. Throws the same.
Shape png_shape(std::string_view bytes, const std::string& where, int64_t most_pixels);

}  // namespace clearhead::io
