// clearhead run tag: the entities of a text.
#include "base/format.h"
#include "clearhead/answers.h"
#include "cli/run_command.h"
#include "cli/terminal.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

struct Entities {
  std::string text{};
  std::vector<TaggedSpan> spans{};
  std::string words(const TaggedSpan& span) const {
    return text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin));
  }
};

struct Tag final : TextCommand<Entities> {
  Tag() : TextCommand("tagging") {}

  Entities answer_text(const Model& of, const std::string& given) override { return {given, tag(of, given, interventions_in(of, given))}; }

  Json json_of(const Entities& found) const override {
    Json out = Json::array();
    for (const TaggedSpan& span : found.spans) {
      out.push(Json::object(
          {{"type", span.type}, {"text", found.words(span)}, {"begin", span.begin}, {"end", span.end}, {"probability", span.probability}}));
    }
    return out;
  }
  std::string line_of(const Entities& found) const override {
    std::string line;
    for (const TaggedSpan& span : found.spans)
      line += format("{}{} {} {}", line.empty() ? "" : "\t", percent(span.probability), span.type, as_line(found.words(span)));
    return line;
  }
  void print_answer(const Entities& found) const override {
    for (const TaggedSpan& span : found.spans)
      print(format("{:>7.2f} %  {:<16} {}", span.probability * 100, span.type, visible(found.words(span))));
    if (found.spans.empty()) notice("no entity was found in this text");
  }
};

std::string answer_example(const Model& model, const ModelInput& input, const TracedInput&) {
  const Entities found{input.text, tag(model, input.text)};
  std::string line;
  for (const TaggedSpan& span : found.spans)
    line += format("{}“{}”: {} ({:.2f} %)", line.empty() ? "" : ", ", as_line(found.words(span)), span.type, span.probability * 100);
  return line;
}

}  // namespace

const RunCommand& tag_command() {
  static const RunCommand command = {.name = "tag",
                                     .description = "Print the entities of a text, found by a token classifier",
                                     .is_task_of = [](const ModelInfo& info) { return info.tags; },
                                     .add = add_text_command<Tag>,
                                     .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
