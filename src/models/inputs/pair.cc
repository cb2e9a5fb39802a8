// A source text, from which an encoder-decoder generates a target text. The tokenizer encodes both.
#include "models/input_kind.h"

namespace clearhead {

const InputKind& pair_input() {
  static const InputKind kind = {.name = "pair", .has_target = true};
  return kind;
}

}  // namespace clearhead
