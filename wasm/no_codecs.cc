// Refuses JPEG files and sounds, whose libraries are not part of this build.
#include "base/format.h"
#include "clearhead/data.h"
#include "io/jpeg.h"
#include "io/sound.h"

namespace clearhead {
namespace {

[[noreturn]] void refuse(const std::string& where, const char* what) {
  fail(ErrorCode::kUnsupported, "{}: this page cannot read {}; use the command-line tool", where, what);
}

}  // namespace

Sound read_sound(const std::string& path, int64_t, int64_t) { refuse(path, "sounds"); }

namespace io {

Image decode_jpeg(std::string_view, const std::string& where, int64_t) { refuse(where, "JPEG files"); }
Shape jpeg_shape(std::string_view, const std::string& where, int64_t) { refuse(where, "JPEG files"); }
SoundHeader sound_header(const std::string& path) { refuse(path, "sounds"); }

}  // namespace io
}  // namespace clearhead
