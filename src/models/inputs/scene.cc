// A picture and a question about it. The source is the picture, and the input is the question. The items of its maps are the patches,
// and the query that pools the words of the question.
#include "models/input_kind.h"
#include "models/input_picture.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

EncodedInput encode(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  return {.input = encode_one(facts, tokenizer, input.question, "question"), .source = encode_picture(facts, input.picture)};
}

RunText describe(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  RunText text;
  append_text(text, facts, tokenizer, input.question);
  text.segments = {{"question", "text", 0, static_cast<int64_t>(text.ids.size())}};
  add_patches(text, facts, encode_picture(facts, input.picture).features);
  add_items(text, "query", {{}});
  return text;
}

}  // namespace

const InputKind& scene_input() {
  static const InputKind kind = {.name = "scene",
                                 .form = InputKind::Form::kPicture,
                                 .has_question = true,
                                 .item = "patch",
                                 .texts = "questions",
                                 .read_config = read_picture_config,
                                 .encode = encode,
                                 .mask = mask_patch,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
