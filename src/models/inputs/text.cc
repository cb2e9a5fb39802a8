// One text or a pair of texts, which the tokenizer encodes.
#include "models/input_kind.h"

namespace clearhead {

const InputKind& text_input() {
  static const InputKind kind = {.name = "text"};
  return kind;
}

}  // namespace clearhead
