// Sound and pictures: files written by the libraries themselves come back as the numbers that went in.
#include "clearhead/data.h"

#include <gtest/gtest.h>
#include <png.h>
#include <turbojpeg.h>

#include <cmath>

#include "io/image.h"
#include "io/png.h"
#include "io/scratch.h"
#include "io/write_samples.h"
#include "refused.h"

namespace clearhead {
namespace {

std::vector<float> values_of(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.numel()}; }

// --- sound ---

int16_t left(int t) { return static_cast<int16_t>(100 * t - 3000); }
int16_t right(int t) { return static_cast<int16_t>(7 * t); }

std::string write_sound(const std::string& path, int format, int channels, int frames, int rate) {
  std::vector<int16_t> samples;
  for (int t = 0; t < frames; ++t) {
    samples.push_back(left(t));
    if (channels == 2) samples.push_back(right(t));
  }
  return write_samples(path, samples, channels, rate, format);
}

void expect_stereo(const Sound& sound, int begin, int count) {
  ASSERT_EQ(sound.samples.shape(), (Shape{2, count}));
  const std::vector<float> values = values_of(sound.samples);
  for (int t = 0; t < count; ++t) {
    EXPECT_EQ(values[static_cast<size_t>(t)], static_cast<float>(left(begin + t)) / 32768);
    EXPECT_EQ(values[static_cast<size_t>(count + t)], static_cast<float>(right(begin + t)) / 32768);
  }
}

TEST(ReadSound, GivesChannelsAndFramesOfWavAndFlac) {
  const ScratchFolder folder;
  for (const int format : {SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_FLAC | SF_FORMAT_PCM_16}) {
    const std::string path = write_sound(folder / "two", format, 2, 300, 8000);
    const Sound whole = read_sound(path);
    EXPECT_EQ(whole.rate, 8000);
    expect_stereo(whole, 0, 300);
    expect_stereo(read_sound(path, 100, 50), 100, 50);
    expect_stereo(read_sound(path, 250), 250, 50);
    EXPECT_EQ(read_sound(path, 300).samples.shape(), (Shape{2, 0}));
  }
}

TEST(ReadSound, ReadsWhatIsLongerThanABlock) {
  const ScratchFolder folder;
  const Sound sound = read_sound(write_sound(folder / "long.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 1, 200000, 16000));
  ASSERT_EQ(sound.samples.shape(), (Shape{1, 200000}));
  for (const int t : {0, 65535, 65536, 131072, 199999}) EXPECT_EQ(sound.samples.data<float>()[t], static_cast<float>(left(t)) / 32768) << t;
}

TEST(ReadSound, AWavFileThatWasCutOffIsReadAsFarAsItGoes) {
  const ScratchFolder folder;
  const std::string path = write_sound(folder / "whole.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 2, 300, 8000);
  std::filesystem::resize_file(path, 44 + 4 * 120);
  expect_stereo(read_sound(path), 0, 120);
}

TEST(ReadSound, RefusesWhatIsNone) {
  const ScratchFolder folder;
  const std::string path = write_sound(folder / "two.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 2, 300, 8000);
  expect_refused(ErrorCode::kNotFound, "none.wav: no such file", [&] { read_sound(folder / "none.wav"); });
  expect_refused(ErrorCode::kFormat, "not a sound that can be read", [&] { read_sound(folder.put("text.wav", "these are words")); });
  expect_refused(ErrorCode::kInvalidArgument, "frames 200 to 301 of a sound of 300", [&] { read_sound(path, 200, 101); });
  expect_refused(ErrorCode::kInvalidArgument, "of a sound of 300", [&] { read_sound(path, 301); });
  expect_refused(ErrorCode::kInvalidArgument, "of a sound of 300", [&] { read_sound(path, -1); });
  const std::string flac = write_sound(folder / "cut.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 2, 30000, 8000);
  std::filesystem::resize_file(flac, std::filesystem::file_size(flac) / 2);
  expect_refused(ErrorCode::kFormat, "of 30,000 frames", [&] { read_sound(flac); });
}

// --- pictures ---

// A picture of 5 × 4 by libpng's simplified writer.
std::string png_of(uint32_t format, const void* pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = 5;
  image.height = 4;
  image.format = format;
  png_alloc_size_t size = 0;
  EXPECT_TRUE(png_image_write_to_memory(&image, nullptr, &size, 0, pixels, 0, nullptr));
  std::string bytes(size, '\0');
  EXPECT_TRUE(png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels, 0, nullptr));
  return bytes;
}

std::vector<uint8_t> pixels_of(int channels) {
  std::vector<uint8_t> out;
  for (int i = 0; i < 20 * channels; ++i) out.push_back(static_cast<uint8_t>(i * 37));
  return out;
}

// Of pixels with `stored` channels the first `shown`.
void expect_pixels(const Tensor& image, const std::vector<uint8_t>& pixels, int stored, int shown, double most = 0) {
  ASSERT_EQ(image.shape(), (Shape{shown, 4, 5}));
  for (int c = 0; c < shown; ++c) {
    for (int i = 0; i < 20; ++i)
      EXPECT_NEAR(image.data<float>()[c * 20 + i], static_cast<float>(pixels[static_cast<size_t>(i * stored + c)]) / 255, most)
          << c << " " << i;
  }
}

TEST(ReadImage, GivesTheChannelsOfPngWithoutOpacity) {
  const std::vector<uint8_t> grey = pixels_of(1), grey_alpha = pixels_of(2), rgb = pixels_of(3), rgba = pixels_of(4);
  expect_pixels(image_from(png_of(PNG_FORMAT_GRAY, grey.data()), "grey"), grey, 1, 1);
  expect_pixels(image_from(png_of(PNG_FORMAT_GA, grey_alpha.data()), "grey, alpha"), grey_alpha, 2, 1);
  expect_pixels(image_from(png_of(PNG_FORMAT_RGB, rgb.data()), "rgb"), rgb, 3, 3);
  const ScratchFolder folder;
  expect_pixels(read_image(folder.put("with-alpha.jpg", png_of(PNG_FORMAT_RGBA, rgba.data()))), rgba, 4, 3);
}

TEST(ReadImage, GivesTheChannelsOfJpeg) {
  tjhandle encoder = tjInitCompress();
  for (const int channels : {1, 3}) {
    std::vector<uint8_t> pixels;
    for (int i = 0; i < 20; ++i) {
      for (int c = 0; c < channels; ++c) pixels.push_back(static_cast<uint8_t>(10 * i + 20 * c));
    }
    unsigned char* bytes = nullptr;
    unsigned long size = 0;
    ASSERT_EQ(tjCompress2(encoder, pixels.data(), 5, 0, 4, channels == 1 ? TJPF_GRAY : TJPF_RGB, &bytes, &size,
                          channels == 1 ? TJSAMP_GRAY : TJSAMP_444, 100, TJFLAG_ACCURATEDCT),
              0);
    const std::string file(reinterpret_cast<const char*>(bytes), size);
    tjFree(bytes);
    expect_pixels(image_from(file, "jpeg"), pixels, channels, channels, 4.0 / 255);
    expect_refused(ErrorCode::kFormat, "cut: damaged JPEG", [&] { image_from(file.substr(0, file.size() - 8), "cut"); });
    expect_refused(ErrorCode::kFormat, "cut: damaged JPEG", [&] { image_from(file.substr(0, 30), "cut"); });
    expect_refused(ErrorCode::kBudget, "5 × 4 pixels; at most 19", [&] { image_from(file, "large", 19); });
  }
  tjDestroy(encoder);
}

TEST(ReadImage, RefusesWhatIsNone) {
  const std::vector<uint8_t> rgb = pixels_of(3);
  const std::string png = png_of(PNG_FORMAT_RGB, rgb.data());
  expect_refused(ErrorCode::kFormat, "cut: damaged PNG", [&] { image_from(png.substr(0, 60), "cut"); });
  expect_refused(ErrorCode::kFormat, "cut: damaged PNG", [&] { image_from(png.substr(0, 20), "cut"); });
  std::string damaged = png;
  damaged[50] = static_cast<char>(damaged[50] + 1);
  expect_refused(ErrorCode::kFormat, "hurt: damaged PNG", [&] { image_from(damaged, "hurt"); });
  expect_refused(ErrorCode::kBudget, "5 × 4 pixels; at most 19", [&] { image_from(png, "large", 19); });
  expect_refused(ErrorCode::kFormat, "neither PNG nor JPEG", [&] { image_from("GIF89a", "other"); });
  expect_refused(ErrorCode::kFormat, "neither PNG nor JPEG", [&] { image_from("", "empty"); });
  expect_refused(ErrorCode::kNotFound, "none.png", [] { read_image("/nowhere/none.png"); });
}

}  // namespace
}  // namespace clearhead
