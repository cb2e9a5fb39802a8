// Looks up a kind of input by name, and calls its functions.
#include "models/input_kind.h"

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {

const InputKind& input_kind(std::string_view name) {
  std::string known;
  for (const InputKind* kind : input_kinds()) {
    if (kind->name == name) return *kind;
    known += (known.empty() ? "" : ", ") + std::string(kind->name);
  }
  fail(ErrorCode::kInvalidArgument, "unknown kind of input \"{}\"; expected one of: {}", name, known);
}

EncodedInput encode_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  const InputKind& kind = input_kind(facts.reads);
  if (!kind.encode)
    fail(ErrorCode::kUnsupported, "a model that reads a {} takes token ids from its tokenizer, not a ModelInput", facts.reads);
  return kind.encode(facts, tokenizer, input);
}

RunText describe_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  const InputKind& kind = input_kind(facts.reads);
  if (!kind.describe)
    fail(ErrorCode::kUnsupported, "a model that reads a {} takes token ids from its tokenizer, not a ModelInput", facts.reads);
  RunText text = kind.describe(facts, tokenizer, input);
  if (!text.text.empty()) text.text.pop_back();  // the last line break
  return text;
}

}  // namespace clearhead
