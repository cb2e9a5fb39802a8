// Sound and pictures: files written by the libraries themselves are read back as the same numbers.
#include "clearhead/data.h"

#include <gtest/gtest.h>
#include <png.h>
#include <sndfile.h>
#include <turbojpeg.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/image.h"
#include "io/png.h"
#include "io/scratch.h"
#include "io/write_samples.h"
#include "refused.h"
#include "values.h"

namespace clearhead::io {
namespace {

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

// Their energy would disappear below the floor of a spectrogram, so the sound would be silent there.
TEST(ReadSound, RefusesSamplesThatAreNotFinite) {
  const ScratchFolder folder;
  for (const float broken : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> samples(2 * 70000, 0.5F);
    samples[2 * 69999 + 1] = broken;
    const std::string path = folder / "float.wav";
    SF_INFO info{.frames = 0, .samplerate = 8000, .channels = 2, .format = SF_FORMAT_WAV | SF_FORMAT_FLOAT, .sections = 0, .seekable = 0};
    SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
    ASSERT_EQ(sf_writef_float(file, samples.data(), 70000), 70000);
    sf_close(file);
    const std::string what = std::isnan(broken) ? "NaN" : "infinite";
    expect_refused(ErrorCode::kFormat, path + ": sample 69,999 of channel 1 is " + what, [&] { read_sound(path); });
    expect_refused(ErrorCode::kFormat, path + ": sample 69,999 of channel 1 is " + what, [&] { read_sound(path, 69990); });
    EXPECT_EQ(read_sound(path, 0, 69999).samples.size(1), 69999);
  }
  const Sound given{Tensor::from(std::vector<float>(800, std::nanf("")), {1, 800}), 16000};
  expect_refused(ErrorCode::kInvalidArgument, "log_mel: sample 0 of the sound is not finite", [&] { log_mel(given); });
}

TEST(ReadSound, ReadsFilesLongerThanOneBlock) {
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

TEST(ReadSound, RefusesInvalidFilesAndRanges) {
  const ScratchFolder folder;
  const std::string path = write_sound(folder / "two.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 2, 300, 8000);
  expect_refused(ErrorCode::kNotFound, "none.wav: no such file", [&] { read_sound(folder / "none.wav"); });
  expect_refused(ErrorCode::kFormat, "not a sound file that can be read", [&] { read_sound(folder.put("text.wav", "these are words")); });
  expect_refused(ErrorCode::kInvalidArgument, "frames 200 to 301 are out of range; the sound has 300", [&] { read_sound(path, 200, 101); });
  expect_refused(ErrorCode::kInvalidArgument, "are out of range; the sound has 300", [&] { read_sound(path, 301); });
  expect_refused(ErrorCode::kInvalidArgument, "are out of range; the sound has 300", [&] { read_sound(path, -1); });
  const std::string flac = write_sound(folder / "cut.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 2, 30000, 8000);
  std::filesystem::resize_file(flac, std::filesystem::file_size(flac) / 2);
  expect_refused(ErrorCode::kFormat, "of 30,000 frames", [&] { read_sound(flac); });
}

// --- pictures ---

// A 5 × 4 picture, by libpng's simplified writer.
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

// Compares the first `shown` channels of pixels that have `stored` channels.
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
    expect_refused(ErrorCode::kBudget, "5 × 4 pixels, but at most 19", [&] { image_from(file, "large", 19); });
  }
  tjDestroy(encoder);
}

// The file contains only its header, so a refusal shows that no pixel was decoded.
TEST(ReadImage, ChecksTheSizeBeforeItDecodes) {
  const std::vector<uint8_t> rgb = pixels_of(3), grey = pixels_of(1);
  const std::string png = png_of(PNG_FORMAT_RGB, rgb.data());
  std::string no_pixels = png;
  const size_t data = no_pixels.find("IDAT");
  std::fill(no_pixels.begin() + static_cast<std::ptrdiff_t>(data) + 4, no_pixels.end(), '\0');
  expect_refused(ErrorCode::kFormat, "damaged PNG", [&] { image_from(no_pixels, "no pixels"); });
  EXPECT_EQ(image_shape(no_pixels, "no pixels"), (Shape{3, 4, 5}));
  const ScratchFolder folder;
  const std::string broken = folder.put("broken.png", no_pixels), whole = folder.put("whole.png", png),
                    of_grey = folder.put("grey.png", png_of(PNG_FORMAT_GRAY, grey.data()));
  expect_refused(ErrorCode::kShape, broken + ": the picture has 5 × 4 pixels (channels: 3); expected 8 × 8 (channels: 3)", [&] {
    read_image(broken, {3, 8, 8});
  });
  expect_refused(ErrorCode::kShape, "(channels: 3); expected 5 × 4 (channels: 1)", [&] { read_image(broken, {1, 4, 5}); });
  expect_pixels(read_image(whole, {3, 4, 5}), rgb, 3, 3);
  EXPECT_EQ(read_image(of_grey, {3, 4, 5}).shape(), (Shape{3, 4, 5}));
  const std::string table = folder.put("table.tsv", "file\tlabel\nwhole.png\ta\nbroken.png\tb\ngrey.png\tc\n");
  expect_refused(ErrorCode::kShape, "line 4, column \"file\": " + of_grey + " has shape [1, 4, 5]", [&] {
    LabelledFiles(table).pictures({0, 1, 2});
  });  // refused before the second picture, which cannot be decoded
}

// 16,384 × 16,384 pixels of one colour: 783 kB that would take 3.9 GB.
TEST(ReadImage, RefusesTooManyPixelsFromTheHeaderAlone) {
  const std::vector<uint8_t> grey = pixels_of(1);
  std::string png = png_of(PNG_FORMAT_GRAY, grey.data());
  const auto put = [&](size_t at, uint32_t value) {
    for (size_t byte = 0; byte < 4; ++byte) png[at + byte] = static_cast<char>(value >> (24 - 8 * byte));
  };
  const size_t header = png.find("IHDR");
  put(header + 4, 16384);
  put(header + 8, 16384);
  put(header + 17, static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(png.data()) + header, 17)));
  expect_refused(ErrorCode::kBudget, "the picture has 16384 × 16384 pixels, but at most 67,108,864 pixels are supported; resize it",
                 [&] { image_from(png, "huge"); });
}

TEST(ReadImage, RefusesDamagedAndUnknownFiles) {
  const std::vector<uint8_t> rgb = pixels_of(3);
  const std::string png = png_of(PNG_FORMAT_RGB, rgb.data());
  expect_refused(ErrorCode::kFormat, "cut: damaged PNG", [&] { image_from(png.substr(0, 60), "cut"); });
  expect_refused(ErrorCode::kFormat, "cut: damaged PNG", [&] { image_from(png.substr(0, 20), "cut"); });
  std::string damaged = png;
  damaged[50] = static_cast<char>(damaged[50] + 1);
  expect_refused(ErrorCode::kFormat, "hurt: damaged PNG", [&] { image_from(damaged, "hurt"); });
  expect_refused(ErrorCode::kBudget, "5 × 4 pixels, but at most 19", [&] { image_from(png, "large", 19); });
  expect_refused(ErrorCode::kFormat, "neither those of a PNG nor of a JPEG file", [&] { image_from("GIF89a", "other"); });
  expect_refused(ErrorCode::kFormat, "neither those of a PNG nor of a JPEG file", [&] { image_from("", "empty"); });
  expect_refused(ErrorCode::kNotFound, "none.png", [] { read_image("/nowhere/none.png"); });
}

}  // namespace
}  // namespace clearhead::io
