// PNG pictures, written and read. Written ones carry notes: what a picture shows travels in it as text chunks (tEXt, or iTXt where the text is not Latin-1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/image.h"

namespace clearhead {

/// Keyword (1 to 79 Latin-1 letters, PNG 11.3.4.2) and text (UTF-8 without NUL), in the order they are written.
using PngText = std::vector<std::pair<std::string, std::string>>;

/// The whole file in memory. Throws kInvalidArgument for pixels that do not fit the size, sides outside 1 … 1,000,000 or a malformed note.
std::string png_bytes(const Image& image, const PngText& text = {});
/// The same to a file that appears whole or not at all. Throws kIo besides.
void write_png(const std::string& path, const Image& image, const PngText& text = {});

/// A picture of 1 or 3 channels from the bytes of a PNG file, without its opacity. Throws kFormat, naming `where`, for damaged ones, kBudget for one of more
/// than most_pixels.
Image decode_png(std::string_view bytes, const std::string& where, int64_t most_pixels);

}  // namespace clearhead
