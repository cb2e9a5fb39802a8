// A text from which an encoder-decoder writes a second one. The tokenizer encodes both.
#include "models/input_kind.h"

namespace clearhead {

const InputKind& pair_input() {
  static const InputKind kind = {.name = "pair", .has_target = true};
  return kind;
}

}  // namespace clearhead
