// A document. The input is the group of its sentences. The items of its maps are the sentences, and the document, which attends to
// them.
#include "models/input_kind.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

EncodedInput encode(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  return {.input = encode_group(facts, tokenizer, input.texts, "sentence")};
}

RunText describe(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  RunText text;
  const auto sentences = append_texts(text, facts, tokenizer, input.texts);
  add_items(text, "sentence", sentences);
  add_items(text, "document", {{0, static_cast<int64_t>(text.text.size()) - 1}});
  return text;
}

}  // namespace

const InputKind& document_input() {
  static const InputKind kind = {.name = "document",
                                 .form = InputKind::Form::kTexts,
                                 .item = "sentence",
                                 .texts = "sentences",
                                 .encode = encode,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
