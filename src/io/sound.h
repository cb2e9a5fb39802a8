// The header of a sound file, read without decoding.
#pragma once

#include <cstdint>
#include <string>

namespace clearhead::io {

constexpr int64_t kMostSamples = int64_t{1} << 31;  // most samples read at once

struct SoundHeader {
  int64_t channels = 0, frames = 0, rate = 0;
};
/// Throws kNotFound, kFormat if the file is not a sound.
SoundHeader sound_header(const std::string& path);

}  // namespace clearhead::io
