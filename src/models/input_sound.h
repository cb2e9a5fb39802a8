// Reads the log-mel settings of a network from config.json, and computes the frames that the network reads.
#pragma once

#include "clearhead/data.h"
#include "models/config.h"
#include "models/network.h"

namespace clearhead {

/// Reads "rate", "window", "hop" and "mels", and the optional "lowest" and "highest", of a config's "sound". Throws kFormat with the
/// field's name.
LogMelOptions read_mel_options(Fields& sound);
/// The log-mel frames of a sound in Whisper's scaling (Radford et al. 2023): (x + 4)/4, where x is the log10 energy relative to the loudest
/// value, clipped below −8. → f32 [frames, mels]. Throws as log_mel().
Tensor scaled_log_mel(const Sound& sound, const LogMelOptions& options);

/// The sound in the length that the network reads: padded with silence or cut at its end, if the facts allow it. Throws kShape with both
/// lengths if they do not.
Sound in_length(const SoundFacts& facts, Sound sound);

}  // namespace clearhead
