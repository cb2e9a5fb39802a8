// A sound of fixed length, read as a picture: its log-mel spectrogram, with low frequencies at the bottom. The items of its maps are the
// patches of the spectrogram, and the query that attends to them.
#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "models/input_sound.h"
#include "models/input_text.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

// Reads "sound": {"rate": 8000, "window": 256, "hop": 128, "mels": 40, "frames": 64, "pad": true, "cut": true}, and "patch_size". The last
// two of "sound" are false if absent.
void read_config(Fields& fields, NetworkFacts& to) {
  Fields sound(fields.require("sound"), fields.where(), "sound");
  to.sound.mel = read_mel_options(sound);
  to.sound.spectrogram = size_of(sound, "frames");
  to.sound.pads = sound.boolean_or("pad", false);
  to.sound.cuts = sound.boolean_or("cut", false);
  sound.refuse_rest();
  to.picture = {.channels = 1, .height = to.sound.mel.mels, .width = to.sound.spectrogram, .patch = size_of(fields, "patch_size")};
  if (to.picture.height % to.picture.patch != 0 || to.picture.width % to.picture.patch != 0) {
    fields.wrong("patch_size", format("a divisor of {} and {}, \"mels\" and \"frames\" of \"sound\"", to.picture.height, to.picture.width),
                 Json(to.picture.patch));
  }
}

Tensor spectrogram_of(const NetworkFacts& facts, const ModelInput& input) {
  if (!input.sound.samples.defined())
    fail(ErrorCode::kInvalidArgument, "this model reads a sound, but the input has none (ModelInput::sound)");
  const Tensor frames = scaled_log_mel(in_length(facts.sound, input.sound), facts.sound.mel);
  const int64_t width = frames.size(0), mels = frames.size(1);
  Tensor picture = Tensor::empty({1, mels, width});
  for (int64_t row = 0; row < mels; ++row) {
    for (int64_t t = 0; t < width; ++t)
      picture.mutable_data<float>()[row * width + t] = (frames.data<float>()[t * mels + mels - 1 - row] + 1) / 2;  // 0 … 1
  }
  return picture;
}

EncodedInput encode(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  return {.input = {.features = spectrogram_of(facts, input)}};
}

RunText describe(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  RunText text;
  add_patches(text, facts, spectrogram_of(facts, input));
  add_items(text, "query", {{}});
  return text;
}

}  // namespace

const InputKind& spectrogram_input() {
  static const InputKind kind = {.name = "spectrogram",
                                 .form = InputKind::Form::kSound,
                                 .item = "patch",
                                 .read_config = read_config,
                                 .encode = encode,
                                 .mask = mask_patch,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
