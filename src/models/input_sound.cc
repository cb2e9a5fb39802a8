// Reads "sound" of a config.json, scales spectrograms, and pads and cuts sounds.
#include "models/input_sound.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

constexpr float kDecades = 8;  // energies more than this many decades below the loudest are clipped

}  // namespace

LogMelOptions read_mel_options(Fields& sound) {
  LogMelOptions mel;
  mel.rate = size_of(sound, "rate");
  mel.window = size_of(sound, "window");
  mel.hop = size_of(sound, "hop");
  mel.mels = size_of(sound, "mels");
  mel.lowest = sound.number_or("lowest", 0);
  mel.highest = sound.number_or("highest", 0);
  try {
    mel_filters(mel);
  } catch (const Error& error) {
    fail(ErrorCode::kFormat, "{}: \"sound\": {}", sound.where(), error.what());
  }
  return mel;
}

Tensor scaled_log_mel(const Sound& sound, const LogMelOptions& options) {
  Tensor frames = log_mel(sound, options);
  float* values = frames.mutable_data<float>();
  const float loudest = *std::max_element(values, values + frames.numel());
  for (int64_t at = 0; at < frames.numel(); ++at) values[at] = (std::max(values[at] - loudest, -kDecades) + kDecades / 2) / (kDecades / 2);
  return frames;
}

Sound in_length(const SoundFacts& facts, Sound sound) {
  if (sound.samples.rank() != 2 || sound.samples.size(1) == 0) return sound;  // log_mel() refuses it
  const int64_t is = sound.samples.size(1), wanted = facts.spectrogram * facts.mel.hop, frames = is / facts.mel.hop;
  if (frames == facts.spectrogram) return sound;
  const bool is_short = frames < facts.spectrogram;
  if (!(is_short ? facts.pads : facts.cuts)) {
    fail(ErrorCode::kShape,
         "the sound has {} samples; the model reads {} ({} frames). Make it {}, or train a model with \"{}\": true in \"task.sounds\"",
         with_commas(is), with_commas(wanted), facts.spectrogram, is_short ? "longer" : "shorter", is_short ? "pad" : "cut");
  }
  if (!is_short) return {sound.samples.slice(1, 0, wanted).contiguous(), sound.rate};
  Tensor padded = Tensor::zeros({sound.samples.size(0), wanted});
  const Tensor from = sound.samples.contiguous();
  for (int64_t channel = 0; channel < from.size(0); ++channel)
    std::copy_n(from.data<float>() + channel * is, is, padded.mutable_data<float>() + channel * wanted);
  return {padded, sound.rate};
}

}  // namespace clearhead
