// A sound, from which a model generates a text. The source is the sequence of its log-mel frames; the input is the text generated so far.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/data.h"
#include "models/input_kind.h"
#include "models/input_sound.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

// Draws a spectrogram as a picture, u8 [mels, width, 3]: low frequencies at the bottom, colours from black through red to light
// yellow. Columns after the last frame are black.
Tensor spectrogram(const Tensor& frames, int64_t width) {
  constexpr float kColours[][3] = {{0, 0, 4}, {81, 18, 124}, {183, 55, 121}, {252, 137, 97}, {252, 253, 191}};
  const int64_t count = frames.size(0), mels = frames.size(1);
  Tensor out = Tensor::empty({mels, width, 3}, DType::kU8);
  auto* to = reinterpret_cast<uint8_t*>(out.mutable_raw());
  for (int64_t row = 0; row < mels; ++row) {
    for (int64_t t = 0; t < width; ++t) {
      const float value = t < count ? frames.data<float>()[t * mels + mels - 1 - row] : -1.0F;  // −1 … 1
      const float at = std::clamp((value + 1) * 2, 0.0F, 4.0F);
      const auto below = static_cast<size_t>(std::min(at, 3.0F));
      const float share = at - static_cast<float>(below);
      for (size_t c = 0; c < 3; ++c)
        *to++ = static_cast<uint8_t>(std::lround(kColours[below][c] + share * (kColours[below + 1][c] - kColours[below][c])));
    }
  }
  return out;
}

// Reads "sound": {"rate": 8000, "window": 256, "hop": 128, "mels": 40, "lowest": 0, "highest": 0}. The last two are optional.
void read_config(Fields& fields, NetworkFacts& to) {
  Fields sound(fields.require("sound"), fields.where(), "sound");
  to.sound.mel = read_mel_options(sound);
  sound.refuse_rest();
}

EncodedInput encode(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  return {.source = EncodedSide{.features = scaled_log_mel(input.sound, facts.sound.mel)}};
}

// Appends the groups of frames as items after the words, with their spectrogram.
RunText describe_written(RunText target, const NetworkFacts& facts, const EncodedSide& source) {
  const Tensor& frames = source.features;
  const int64_t each = facts.sound.frames, items = (frames.size(0) + each - 1) / each, begin = static_cast<int64_t>(target.ids.size());
  const double seconds = static_cast<double>(each * facts.sound.mel.hop) / static_cast<double>(facts.sound.mel.rate);
  target.segments = {{"target", "text", 0, begin}};
  for (int64_t item = 0; item < items; ++item) add_item(target, format("{:.2f} s", static_cast<double>(item) * seconds), {});
  target.items.push_back({.kind = "frame", .begin = begin, .end = begin + items, .picture = spectrogram(frames, items * each)});
  return target;
}

}  // namespace

const InputKind& sound_input() {
  static const InputKind kind = {.name = "sound",
                                 .form = InputKind::Form::kSound,
                                 .has_target = true,
                                 .read_config = read_config,
                                 .encode = encode,
                                 .describe_written = describe_written};
  return kind;
}

}  // namespace clearhead
