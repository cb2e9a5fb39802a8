// A picture. The items of its maps are its patches, and the queries that attend to them: one, or the object queries of a detector.
#include "base/format.h"
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
  if (facts.queries == 1) {
    add_items(text, "query", {{}});
    return text;
  }
  const auto begin = static_cast<int64_t>(text.ids.size());
  for (int64_t query = 0; query < facts.queries; ++query) add_item(text, format("query {}", query + 1));
  text.items.push_back({.kind = "object", .begin = begin, .end = begin + facts.queries});
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
