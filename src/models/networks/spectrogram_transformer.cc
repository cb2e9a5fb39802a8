// A classifier of sounds: a Vision Transformer that reads the log-mel spectrogram as a picture (Audio Spectrogram Transformer, Gong et al.
// 2021, §2.1). Its patches do not overlap, and a learned query pools them (vision_transformer.cc).
#include "models/networks/vision_transformer.h"

namespace clearhead {

const NetworkKind& spectrogram_transformer_network() {
  static const NetworkKind kind{"spectrogram_transformer", "spectrogram", &make_vision_transformer};
  return kind;
}

}  // namespace clearhead
