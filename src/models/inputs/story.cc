// A story and a question about it. The source is the group of the story's statements; if the memory has fewer slots, the latest ones. The
// input is the question. The items of its maps are the slots, and the query that attends to them.
#include "models/input_kind.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

EncodedInput encode(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  EncodedSide story = encode_group(facts, tokenizer, input.texts, "statement");
  const size_t given = story.sequences.size();
  keep_latest(story.sequences, facts.slots);
  story.left_out = static_cast<int64_t>(given - story.sequences.size());
  return {.input = encode_one(facts, tokenizer, input.question, "question"), .source = std::move(story)};
}

RunText describe(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) {
  RunText text;
  auto statements = append_texts(text, facts, tokenizer, input.texts);
  keep_latest(statements, facts.slots);  // older statements are part of the text, but have no slot
  const auto first = static_cast<int64_t>(text.ids.size()), begin = static_cast<int64_t>(text.text.size());
  append_text(text, facts, tokenizer, input.question);
  text.segments = {{"story", "text", 0, first}, {"question", "text", first, static_cast<int64_t>(text.ids.size())}};
  add_items(text, "slot", statements);
  add_items(text, "query", {{begin, static_cast<int64_t>(text.text.size()) - 1}});
  return text;
}

}  // namespace

const InputKind& story_input() {
  static const InputKind kind = {.name = "story",
                                 .form = InputKind::Form::kTexts,
                                 .has_question = true,
                                 .item = "slot",
                                 .texts = "statements and questions",
                                 .encode = encode,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
