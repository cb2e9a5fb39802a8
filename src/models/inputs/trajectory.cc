// The observations of an episode up to the current step, one text per step. They are encoded as a group of sequences. The items of the
// attention maps are the steps; the policy chooses the action of the last one. If config.json says how observations are drawn ("board"),
// each step is also a tile of a picture.
#include <array>
#include <utility>

#include "models/board.h"
#include "models/input_kind.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

void read_facts(Fields& config, NetworkFacts& to) {
  to.environment = config.string_or("environment", "");  // in which the policy was trained
  to.board = read_board(config);
}

EncodedInput encode(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  return {.input = encode_group(facts, tokenizer, input.texts, "observation")};
}

RunText describe(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  RunText text;
  const std::vector<std::array<int64_t, 2>> steps = append_texts(text, facts, tokenizer, input.texts);
  add_items(text, "step", steps);
  if (!facts.board || steps.empty()) return text;
  std::vector<std::string> observations;
  for (const auto& [begin, end] : steps)
    observations.push_back(text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  if (std::optional<DrawnSteps> drawn = draw_steps(*facts.board, observations)) {
    text.items.back().picture = std::move(drawn->picture);
    text.items.back().boxes = std::move(drawn->boxes);
  }
  return text;
}

}  // namespace

const InputKind& trajectory_input() {
  static const InputKind kind = {.name = "trajectory",
                                 .form = InputKind::Form::kTexts,
                                 .item = "step",
                                 .texts = "observations",
                                 .read_config = read_facts,
                                 .encode = encode,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
