// The observations of an episode up to the current step, one text per step. They are encoded as a group of sequences. The items of the
// attention maps are the steps; the policy chooses the action of the last one.
#include "models/input_kind.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

// Reads "environment": the environment in which the policy was trained.
void read_config(Fields& config, NetworkFacts& to) { to.environment = config.string_or("environment", ""); }

EncodedInput encode(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  return {.input = encode_group(facts, tokenizer, input.texts, "observation")};
}

RunText describe(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  RunText text;
  add_items(text, "step", append_texts(text, facts, tokenizer, input.texts));
  return text;
}

}  // namespace

const InputKind& trajectory_input() {
  static const InputKind kind = {.name = "trajectory",
                                 .form = InputKind::Form::kTexts,
                                 .item = "step",
                                 .texts = "observations",
                                 .read_config = read_config,
                                 .encode = encode,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
