// A picture. The items of its maps are its patches, and the query that attends to them.
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

EncodedInput encode(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  return {.input = encode_picture(facts, input.picture)};
}

RunText describe(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  RunText text;
  add_patches(text, facts, encode_picture(facts, input.picture).features);
  add_items(text, "query", {{}});
  return text;
}

}  // namespace

const InputKind& picture_input() {
  static const InputKind kind = {.name = "picture",
                                 .form = InputKind::Form::kPicture,
                                 .item = "patch",
                                 .read_config = read_picture_config,
                                 .encode = encode,
                                 .mask = mask_patch,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
