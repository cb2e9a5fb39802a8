// Reads and writes PNG with libpng. libpng reports errors by longjmp, which runs no destructors. Objects with a destructor are
// therefore kept in a Job, which belongs to a caller of the function that longjmp leaves. Text is written as tEXt if it is
// Latin-1, otherwise as iTXt.
#include "io/png.h"

#include <png.h>

#include <csetjmp>
#include <exception>
#include <optional>

#include "base/file.h"
#include "base/format.h"
#include "base/utf8.h"

namespace clearhead::io {
namespace {

// Converts UTF-8 to Latin-1. Returns nothing if a character is not in Latin-1, or is a control character other than a
// newline, which tEXt forbids.
std::optional<std::string> latin1(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    unsigned code = byte;
    if (byte >= 0x80) {
      if (byte > 0xC3) return std::nullopt;  // U+0100 and above
      code = (byte & 0x1Fu) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3Fu);
    }
    if ((code < 0x20 && code != '\n') || (code >= 0x7F && code < 0xA0)) return std::nullopt;
    out += static_cast<char>(code);
  }
  return out;
}

struct Note {
  std::string keyword, text;
  bool international = false;
};

std::vector<Note> notes_of(const PngText& text) {
  std::vector<Note> notes;
  for (const auto& [keyword, value] : text) {
    if (valid_utf8_prefix(keyword) != keyword.size() || valid_utf8_prefix(value) != value.size() || value.find('\0') != std::string::npos) {
      fail(ErrorCode::kInvalidArgument, "png: the text entry \"{}\" is invalid; expected UTF-8 without NUL characters",
           keyword.substr(0, valid_utf8_prefix(keyword)));
    }
    const std::optional<std::string> key = latin1(keyword);
    if (!key || key->empty() || key->size() > 79 || key->front() == ' ' || key->back() == ' ' || key->find("  ") != std::string::npos ||
        key->find('\n') != std::string::npos) {
      fail(ErrorCode::kInvalidArgument,
           "png: invalid keyword \"{}\"; expected 1 to 79 Latin-1 characters, without line breaks and without leading, trailing or double "
           "spaces",
           keyword);
    }
    const std::optional<std::string> plain = latin1(value);
    notes.push_back({*key, plain ? *plain : value, !plain});
  }
  return notes;
}

// Everything that has a destructor: encode() is left by longjmp, which runs none.
struct Job {
  const Image& image;
  std::vector<png_text> chunks;
  std::string bytes;
  std::string error;
  std::exception_ptr thrown;
};

void on_error(png_structp png, png_const_charp message) {
  static_cast<Job*>(png_get_error_ptr(png))->error = message;
  std::longjmp(png_jmpbuf(png), 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_write(png_structp png, png_bytep data, png_size_t size) {
  auto* job = static_cast<Job*>(png_get_io_ptr(png));
  try {
    job->bytes.append(reinterpret_cast<const char*>(data), size);
    return;
  } catch (...) {
    job->thrown = std::current_exception();
  }
  png_error(png, "no memory");
}

void on_flush(png_structp) {}

// Returns false if libpng fails; the reason is then in the job.
bool encode(Job& job, png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png))) return false;
  const Image& image = job.image;
  png_set_write_fn(png, &job, on_write, on_flush);
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
               image.channels == 4   ? PNG_COLOR_TYPE_RGB_ALPHA
               : image.channels == 3 ? PNG_COLOR_TYPE_RGB
                                     : PNG_COLOR_TYPE_GRAY,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB_gAMA_and_cHRM(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
  if (!job.chunks.empty()) png_set_text(png, info, job.chunks.data(), static_cast<int>(job.chunks.size()));
  png_write_info(png, info);
  const size_t row = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  for (size_t y = 0; y < static_cast<size_t>(image.height); ++y) png_write_row(png, image.pixels.data() + y * row);
  png_write_end(png, info);
  return true;
}

void check(const Image& image) {
  constexpr int64_t kMostSide = 1'000'000;  // libpng's default limit, which readers have too
  if (image.channels != 1 && image.channels != 3 && image.channels != 4)
    fail(ErrorCode::kInvalidArgument, "png: {} channels; expected 1, 3 or 4", image.channels);
  if (image.width < 1 || image.height < 1 || image.width > kMostSide || image.height > kMostSide) {
    fail(ErrorCode::kInvalidArgument, "png: the image has {} x {} pixels; expected a width and a height from 1 to {}", image.width,
         image.height, with_commas(kMostSide));
  }
  const int64_t wanted = image.width * image.height * image.channels;
  if (static_cast<int64_t>(image.pixels.size()) != wanted) {
    fail(ErrorCode::kInvalidArgument, "png: {} x {} pixels of {} channels take {} bytes, found {}", image.width, image.height,
         image.channels, wanted, image.pixels.size());
  }
}

}  // namespace

std::string png_bytes(const Image& image, const PngText& text) {
  check(image);
  std::vector<Note> notes = notes_of(text);
  Job job{image, {}, {}, {}, {}};
  for (Note& note : notes) {
    png_text chunk{};
    chunk.compression = note.international ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE;
    chunk.key = note.keyword.data();
    chunk.text = note.text.data();
    (note.international ? chunk.itxt_length : chunk.text_length) = note.text.size();
    job.chunks.push_back(chunk);
  }
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  const bool written = info && encode(job, png, info);
  png_destroy_write_struct(&png, &info);
  if (job.thrown) std::rethrow_exception(job.thrown);
  if (!written)
    fail(ErrorCode::kBudget, "png: {} x {} pixels cannot be encoded: {}", image.width, image.height,
         job.error.empty() ? "no memory" : job.error);
  return std::move(job.bytes);
}

namespace {

struct Reader : png_image {
  Reader(std::string_view bytes, const std::string& where, int64_t most_pixels) : png_image{} {
    version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(this, bytes.data(), bytes.size())) {
      const std::string reason = message;
      png_image_free(this);
      fail(ErrorCode::kFormat, "{}: damaged PNG: {}", where, reason);
    }
    is_colour = (format & PNG_FORMAT_FLAG_COLOR) != 0;
    try {
      check_pixels(width, height, where, most_pixels);
    } catch (...) {
      png_image_free(this);
      throw;
    }
  }
  ~Reader() { png_image_free(this); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  bool is_colour = false;
};

}  // namespace

Shape png_shape(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  const Reader reader(bytes, where, most_pixels);
  return {reader.is_colour ? 3 : 1, reader.height, reader.width};
}

Image decode_png(std::string_view bytes, const std::string& where, int64_t most_pixels) {
  Reader reader(bytes, where, most_pixels);
  reader.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  reader.format = reader.is_colour ? PNG_FORMAT_RGBA : PNG_FORMAT_GA;  // without alpha in the output, libpng would darken pixels
  Image image{reader.width, reader.height, reader.is_colour ? 3 : 1, {}};
  std::vector<uint8_t>& pixels = image.pixels;
  pixels.resize(PNG_IMAGE_SIZE(reader));
  if (!png_image_finish_read(&reader, nullptr, pixels.data(), 0, nullptr))
    fail(ErrorCode::kFormat, "{}: damaged PNG: {}", where, reader.message);
  const size_t channels = static_cast<size_t>(image.channels), count = pixels.size() / (channels + 1) * channels;
  for (size_t i = 0; i < count; ++i) pixels[i] = pixels[i / channels * (channels + 1) + i % channels];  // drops alpha in place
  pixels.resize(count);
  return image;
}

void write_png(const std::string& path, const Image& image, const PngText& text) { write_file(path, png_bytes(image, text)); }

}  // namespace clearhead::io
