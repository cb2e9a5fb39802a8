// Reads sounds with libsndfile, block by block, so that memory follows the data in the file, not the length in its
// header.
#include "io/sound.h"

#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

constexpr int64_t kBlock = 65536;  // samples decoded at a time

struct Close {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using File = std::unique_ptr<SNDFILE, Close>;

File open(const std::string& path, SF_INFO& info) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) fail(ErrorCode::kNotFound, "{}: no such file", path);
  File file(sf_open(path.c_str(), SFM_READ, &info));
  if (!file) fail(ErrorCode::kFormat, "{}: not a sound file that can be read: {}", path, sf_strerror(nullptr));
  return file;
}

}  // namespace

io::SoundHeader io::sound_header(const std::string& path) {
  SF_INFO info{};
  const File file = open(path, info);
  return {info.channels, info.frames, info.samplerate};
}

Sound read_sound(const std::string& path, int64_t begin, int64_t count) {
  SF_INFO info{};
  const File file = open(path, info);
  const int64_t frames = info.frames, channels = info.channels, wanted = count < 0 ? frames - begin : count;
  if (begin < 0 || begin > frames || wanted > frames - begin) {
    fail(ErrorCode::kInvalidArgument, "{}: frames {} to {} are out of range; the sound has {}", path, begin, begin + wanted, frames);
  }
  if (wanted > io::kMostSamples / channels) {
    fail(ErrorCode::kBudget, "{}: {} frames of {} channels are too many; read at most {} samples at once", path, with_commas(wanted),
         channels, with_commas(io::kMostSamples));
  }
  if (begin > 0 && sf_seek(file.get(), begin, SEEK_SET) != begin) {
    fail(ErrorCode::kFormat, "{}: cannot seek to frame {}: {}", path, begin, sf_strerror(file.get()));
  }
  std::vector<float> samples;  // grows with the data that is read, not with the length in the header
  while (static_cast<int64_t>(samples.size()) < wanted * channels) {
    const size_t before = samples.size();
    const int64_t left = wanted - static_cast<int64_t>(before) / channels, block = std::min(left, std::max<int64_t>(1, kBlock / channels));
    samples.resize(before + static_cast<size_t>(block * channels));
    const int64_t read = sf_readf_float(file.get(), samples.data() + before, block);
    if (read != block) {
      fail(ErrorCode::kFormat, "{}: ends after {} of {} frames: {}", path,
           with_commas(begin + static_cast<int64_t>(before) / channels + read), with_commas(frames), sf_strerror(file.get()));
    }
  }
  const auto broken = std::find_if(samples.begin(), samples.end(), [](float sample) { return !std::isfinite(sample); });
  if (broken != samples.end()) {
    const int64_t at = broken - samples.begin();
    fail(ErrorCode::kFormat, "{}: sample {} of channel {} is {}; expected finite numbers. The file is damaged, or was written incorrectly",
         path, with_commas(begin + at / channels), at % channels, std::isnan(*broken) ? "NaN" : "infinite");
  }
  Sound sound{Tensor::empty({channels, wanted}), info.samplerate};
  float* to = sound.samples.mutable_data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < wanted; ++t) to[c * wanted + t] = samples[static_cast<size_t>(t * channels + c)];
  }
  return sound;
}

}  // namespace clearhead
