// What a sound file says of itself before anything is decoded.
#pragma once

#include <cstdint>
#include <string>

namespace clearhead {

constexpr int64_t kMostSamples = int64_t{1} << 31;  // that are read at once

struct SoundHeader {
  int64_t channels = 0, frames = 0, rate = 0;
};
/// Throws kNotFound, kFormat for what is no sound.
SoundHeader sound_header(const std::string& path);

}  // namespace clearhead
