// Writing PNG files with notes.
#include "io/png.h"

#include <gtest/gtest.h>
#include <png.h>

#include <map>

#include "base/file.h"
#include "io/scratch.h"
#include "refused.h"

namespace clearhead::io {
namespace {

Image picture(int channels) {
  Image image{3, 2, channels, {}};
  for (int i = 0; i < 6 * channels; ++i) image.pixels.push_back(static_cast<uint8_t>(i * 11));
  return image;
}

// Reads with libpng's simplified reader, as other programs would.
Image read_back(const std::string& bytes, int channels) {
  png_image reader{};
  reader.version = PNG_IMAGE_VERSION;
  EXPECT_TRUE(png_image_begin_read_from_memory(&reader, bytes.data(), bytes.size()));
  reader.format = channels == 4 ? PNG_FORMAT_RGBA : channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Image image{reader.width, reader.height, channels, std::vector<uint8_t>(PNG_IMAGE_SIZE(reader))};
  EXPECT_TRUE(png_image_finish_read(&reader, nullptr, image.pixels.data(), 0, nullptr));
  return image;
}

// The chunks of one type, as bytes.
std::vector<std::string> chunks(const std::string& png, const std::string& kind) {
  std::vector<std::string> found;
  for (size_t at = 8; at + 12 <= png.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(png[at + i]);
    if (png.substr(at + 4, 4) == kind) found.push_back(png.substr(at + 8, length));
    at += 12 + length;
  }
  return found;
}

std::string refusal(const Image& image, const PngText& text = {}) {
  return error_of([&] { png_bytes(image, text); });
}

TEST(Png, PixelsComeBackAsTheyWere) {
  for (const int channels : {1, 3, 4}) {
    const Image image = picture(channels);
    const Image back = read_back(png_bytes(image), channels);
    EXPECT_EQ(back.width, 3);
    EXPECT_EQ(back.height, 2);
    EXPECT_EQ(back.pixels, image.pixels);
  }
}

TEST(Png, NotesAreLatin1WhereTheyCanBeAndUtf8Elsewhere) {
  const std::string png = png_bytes(picture(3), {{"Title", "L3.H5 caf\xC3\xA9\nrow"}, {"Text", "猫坐在垫子上"}, {"Escape", "a\x1B[0m"}});
  EXPECT_EQ(chunks(png, "tEXt"), std::vector<std::string>{std::string("Title\0L3.H5 caf\xE9\nrow", 20)});
  EXPECT_EQ(chunks(png, "iTXt"), (std::vector<std::string>{std::string("Text\0\0\0\0\0", 9) + "猫坐在垫子上",
                                                           std::string("Escape\0\0\0\0\0", 11) + "a\x1B[0m"}));
}

TEST(Png, IsWrittenToAFileWholeOrNotAtAll) {
  const ScratchFolder folder;
  write_png(folder / "a.png", picture(4), {{"Software", "clearhead"}});
  EXPECT_EQ(read_back(read_file(folder / "a.png"), 4).pixels, picture(4).pixels);
  EXPECT_EQ(error_of([&] { write_png(folder / "no/a.png", picture(4)); }),
            "kIo: " + (folder / "no/a.png") + ": cannot be written: No such file or directory; nothing was changed");
}

TEST(Png, RefusesInvalidPictures) {
  EXPECT_EQ(refusal({0, 2, 3, {}}), "kInvalidArgument: png: the image has 0 x 2 pixels; expected a width and a height from 1 to 1,000,000");
  EXPECT_EQ(refusal({1, 1000001, 3, {}}),
            "kInvalidArgument: png: the image has 1 x 1000001 pixels; expected a width and a height from 1 to 1,000,000");
  EXPECT_EQ(refusal({1, 1, 2, {0, 0}}), "kInvalidArgument: png: 2 channels; expected 1, 3 or 4");
  EXPECT_EQ(refusal({2, 2, 4, {0}}), "kInvalidArgument: png: 2 x 2 pixels of 4 channels take 16 bytes, found 1");
}

TEST(Png, RefusesNotesThatReadersWouldReject) {
  const std::string expected = "; expected 1 to 79 Latin-1 characters, without line breaks and without leading, trailing or double spaces";
  for (const std::string key : {"", " a", "a ", "a  b", "猫"}) {
    EXPECT_EQ(refusal(picture(3), {{key, "x"}}), "kInvalidArgument: png: invalid keyword \"" + key + "\"" + expected);
  }
  EXPECT_EQ(refusal(picture(3), {{"a\nb", "x"}}), "kInvalidArgument: png: invalid keyword \"a\\nb\"" + expected);
  EXPECT_EQ(refusal(picture(3), {{std::string(80, 'k'), "x"}}),
            "kInvalidArgument: png: invalid keyword \"" + std::string(80, 'k') + "\"" + expected);
  EXPECT_EQ(refusal(picture(3), {{"Text", "\xFF"}}),
            "kInvalidArgument: png: the text entry \"Text\" is invalid; expected UTF-8 without NUL characters");
  EXPECT_EQ(refusal(picture(3), {{"Text", std::string("a\0b", 3)}}),
            "kInvalidArgument: png: the text entry \"Text\" is invalid; expected UTF-8 without NUL characters");
}

}  // namespace
}  // namespace clearhead::io
