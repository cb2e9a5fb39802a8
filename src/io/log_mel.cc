// Log-mel spectrograms. The Fourier transform is a product with tables of cosines and sines, in double. Because the input
// is real, samples n and window − n share a row of the tables: their sum is multiplied by the cosines, their difference
// by the sines. This halves the work. Cost: window²/2 multiplications per frame.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/format.h"
#include "base/parallel.h"
#include "clearhead/data.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

constexpr double kMelsPerHz = 3.0 / 200, kBreak = 1000;  // mel is linear in Hz below the break
const double kMelsPerE = 27 / std::log(6.4);             // and logarithmic above it

double mel_of(double hz) { return hz < kBreak ? hz * kMelsPerHz : kBreak * kMelsPerHz + std::log(hz / kBreak) * kMelsPerE; }
double hz_of(double mel) {
  const double at_break = kBreak * kMelsPerHz;
  return mel < at_break ? mel / kMelsPerHz : kBreak * std::exp((mel - at_break) / kMelsPerE);
}

double highest_of(const LogMelOptions& options) { return options.highest > 0 ? options.highest : static_cast<double>(options.rate) / 2; }

void check(const LogMelOptions& options) {
  const auto whole = [](const char* name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
      fail(ErrorCode::kInvalidArgument, "log_mel: {} is {}; expected {} to {}", name, value, least, with_commas(most));
  };
  whole("rate", options.rate, 1, 1'000'000);
  whole("window", options.window, 2, 1 << 12);
  whole("hop", options.hop, 1, 1 << 20);
  whole("mels", options.mels, 1, 1 << 12);
  const double highest = highest_of(options);
  if (!(options.lowest >= 0 && options.lowest < highest && highest <= static_cast<double>(options.rate) / 2)) {
    fail(ErrorCode::kInvalidArgument,
         "log_mel: filters from {} to {} Hz; expected ascending frequencies from 0 to half the sample rate, {}", options.lowest, highest,
         static_cast<double>(options.rate) / 2);
  }
  if (!(options.floor > 0)) fail(ErrorCode::kInvalidArgument, "log_mel: floor is {}; expected a number above 0", options.floor);
}

// Maps an index before the beginning or after the end into the sound, which is reflected at both ends, repeatedly if
// necessary.
int64_t reflected(int64_t at, int64_t count) {
  if (count == 1) return 0;
  const int64_t period = 2 * (count - 1), within = ((at % period) + period) % period;
  return std::min(within, period - within);
}

// Computes the energy of each frequency bin of a frame.
class Spectrum {
 public:
  explicit Spectrum(int64_t window) : window_(window), bins_(window / 2 + 1) {
    std::vector<double> cosine, sine;  // of 2πn / window
    for (int64_t n = 0; n < window; ++n) {
      const double angle = 2 * M_PI * static_cast<double>(n) / static_cast<double>(window);
      cosine.push_back(std::cos(angle));
      sine.push_back(std::sin(angle));
      hann_.push_back(0.5 - 0.5 * cosine.back());
    }
    for (int64_t n = 0; n < bins_; ++n) {
      for (int64_t k = 0; k < bins_; ++k) {
        cosines_.push_back(cosine[static_cast<size_t>(n * k % window)]);
        sines_.push_back(sine[static_cast<size_t>(n * k % window)]);
      }
    }
  }

  // mono: [count].   energies: [bins]
  void energies(const std::vector<float>& mono, int64_t centre, std::vector<double>& energies) const {
    const auto at = [&](int64_t n) {
      const int64_t place = reflected(centre + n - window_ / 2, static_cast<int64_t>(mono.size()));
      return hann_[static_cast<size_t>(n)] * static_cast<double>(mono[static_cast<size_t>(place)]);
    };
    std::vector<double> real(static_cast<size_t>(bins_), at(0)), imaginary(static_cast<size_t>(bins_), 0);
    for (int64_t n = 1; n < bins_; ++n) {
      const double first = at(n), second = 2 * n == window_ ? 0 : at(window_ - n), sum = first + second, difference = first - second;
      const double *cosine = cosines_.data() + n * bins_, *sine = sines_.data() + n * bins_;
      for (size_t k = 0; k < real.size(); ++k) {
        real[k] += sum * cosine[k];
        imaginary[k] += difference * sine[k];
      }
    }
    for (size_t k = 0; k < real.size(); ++k) energies[k] = real[k] * real[k] + imaginary[k] * imaginary[k];
  }

 private:
  int64_t window_, bins_;
  std::vector<double> cosines_{}, sines_{}, hann_{};  // [sample n, bin k], [sample n, bin k], [window]
};

std::vector<float> mono_of(const Sound& sound) {
  const int64_t channels = sound.samples.size(0), count = sound.samples.size(1);
  const Tensor samples = sound.samples.contiguous();
  std::vector<float> out(static_cast<size_t>(count), 0);
  for (int64_t c = 0; c < channels; ++c) {
    const float* from = samples.data<float>() + c * count;
    for (size_t t = 0; t < out.size(); ++t) out[t] += from[t] / static_cast<float>(channels);
  }
  return out;
}

}  // namespace

Tensor mel_filters(const LogMelOptions& options) {
  check(options);
  const int64_t bins = options.window / 2 + 1;
  const double least = mel_of(options.lowest), most = mel_of(highest_of(options));
  std::vector<double> corners;  // filter m rises from corner m to m + 1 and falls to m + 2
  for (int64_t m = 0; m < options.mels + 2; ++m)
    corners.push_back(hz_of(least + (most - least) * static_cast<double>(m) / static_cast<double>(options.mels + 1)));
  Tensor filters = Tensor::empty({options.mels, bins});
  float* to = filters.mutable_data<float>();
  for (size_t m = 0; m < static_cast<size_t>(options.mels); ++m) {
    const double begin = corners[m], top = corners[m + 1], end = corners[m + 2];
    for (int64_t k = 0; k < bins; ++k) {
      const double hz = static_cast<double>(k * options.rate) / static_cast<double>(options.window);
      const double height = std::max(0.0, std::min((hz - begin) / (top - begin), (end - hz) / (end - top)));
      *to++ = static_cast<float>(height * 2 / (end - begin));
    }
  }
  return filters;
}

Tensor log_mel(const Sound& sound, const LogMelOptions& options) {
  const Tensor filters = mel_filters(options);
  if (!sound.samples.defined() || sound.samples.rank() != 2 || sound.samples.numel() == 0)
    fail(ErrorCode::kInvalidArgument, "log_mel: the sound is empty; expected samples of shape [channels, frames]");
  if (sound.rate != options.rate) {
    fail(ErrorCode::kInvalidArgument,
         "log_mel: the sample rate of the sound is {} Hz; expected {} Hz; convert it, for example with: ffmpeg -i IN -ar {} OUT.wav",
         with_commas(sound.rate), with_commas(options.rate), options.rate);
  }
  const std::vector<float> mono = mono_of(sound);
  const auto broken = std::find_if(mono.begin(), mono.end(), [](float sample) { return !std::isfinite(sample); });
  if (broken != mono.end())  // the floor would turn it into silence
    fail(ErrorCode::kInvalidArgument, "log_mel: sample {} of the sound is not finite", with_commas(broken - mono.begin()));
  const Spectrum spectrum(options.window);
  const int64_t frames = std::max<int64_t>(1, static_cast<int64_t>(mono.size()) / options.hop), bins = filters.size(1);
  Tensor out = Tensor::empty({frames, options.mels});
  float* to = out.mutable_data<float>();
  parallel_ranges(frames, 4, [&](int64_t begin, int64_t end, int) {
    std::vector<double> energies(static_cast<size_t>(bins));
    for (int64_t t = begin; t < end; ++t) {
      spectrum.energies(mono, t * options.hop, energies);
      for (int64_t m = 0; m < options.mels; ++m) {
        const float* filter = filters.data<float>() + m * bins;
        double sum = 0;
        for (size_t k = 0; k < energies.size(); ++k) sum += static_cast<double>(filter[k]) * energies[k];
        to[t * options.mels + m] = static_cast<float>(std::log10(std::max(options.floor, sum)));
      }
    }
  });
  return out;
}

}  // namespace clearhead
