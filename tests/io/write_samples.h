// Writes a sound file with given samples, using libsndfile.
#pragma once

#include <gtest/gtest.h>
#include <sndfile.h>

#include <cstdint>
#include <string>
#include <vector>

namespace clearhead {

/// samples: frame after frame, one number per channel. Returns the path.
inline std::string write_samples(const std::string& path, const std::vector<int16_t>& samples, int channels, int rate, int format) {
  SF_INFO info{};
  info.format = format;
  info.channels = channels;
  info.samplerate = rate;
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  const auto frames = static_cast<sf_count_t>(samples.size()) / channels;
  EXPECT_EQ(sf_writef_short(file, samples.data(), frames), frames);
  sf_close(file);
  return path;
}

}  // namespace clearhead
