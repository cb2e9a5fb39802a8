// clearhead run label: the label of every character of a sequence, such as a protein.
#include <algorithm>

#include "base/format.h"
#include "base/utf8.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "cli/run_command.h"
#include "cli/terminal.h"

namespace clearhead::cli {
namespace {

constexpr size_t kLineWidth = 60;  // characters of the sequence, as in FASTA files

struct LabelledSequence {
  std::string text{};
  std::vector<TaggedSpan> tokens{};
  std::string part(const TaggedSpan& of) const {
    return text.substr(static_cast<size_t>(of.begin), static_cast<size_t>(of.end - of.begin));
  }
};

// True for a tagger of tokens whose labels are one character each, so that they can be printed below the sequence.
bool labels_characters(const ModelInfo& info) {
  const auto is_character = [](const std::string& label) {
    return !label.empty() && std::all_of(label.begin() + 1, label.end(), continues_character);
  };
  return info.tags && !info.tags_words && std::all_of(info.labels.begin(), info.labels.end(), is_character);
}

struct Label final : TextCommand<LabelledSequence> {
  Label() : TextCommand("labelling") {}

  void begin(const Model& of) override {
    if (!labels_characters(of.info()))
      fail(ErrorCode::kUnsupported, "{}: the model does not give each character of a sequence a label of one character", of.info().name);
  }
  LabelledSequence answer_text(const Model& of, const std::string& given) override {
    return {given, label_tokens(of, given, interventions_in(of, given))};
  }

  Json json_of(const LabelledSequence& found) const override {
    Json out = Json::array();
    for (const TaggedSpan& token : found.tokens) {
      out.push(Json::object({{"label", token.type},
                             {"text", found.part(token)},
                             {"begin", token.begin},
                             {"end", token.end},
                             {"probability", token.probability}}));
    }
    return out;
  }
  std::string line_of(const LabelledSequence& found) const override {
    std::string line;
    for (const TaggedSpan& token : found.tokens) line += token.type;
    return line;
  }
  // Prints the sequence in lines that start with the position of their first character. Below each are the labels and the first digit
  // of each probability: 9 for 90 % or more, 8 for 80 % to 90 %.
  void print_answer(const LabelledSequence& found) const override {
    for (size_t begin = 0; begin < found.tokens.size(); begin += kLineWidth) {
      std::string sequence, labels, digits;
      for (size_t at = begin; at < std::min(begin + kLineWidth, found.tokens.size()); ++at) {
        const TaggedSpan& token = found.tokens[at];
        sequence += visible(found.part(token));
        labels += token.type;
        digits += static_cast<char>('0' + std::min(9, static_cast<int>(token.probability * 10)));
      }
      if (begin > 0) print("");
      print(format("{:>6}  {}", begin + 1, sequence));
      print(format("{:>6}  {}", "label", labels));
      print(format("{:>6}  {}", "p", digits));
    }
    if (found.tokens.empty()) notice("the sequence has no tokens");
  }
};

}  // namespace

const RunCommand& label_command() {
  static const RunCommand command = {.name = "label",
                                     .description = "Print the label of every character of a sequence, such as a protein",
                                     .is_task_of = labels_characters,
                                     .specificity = 3,
                                     .add = add_text_command<Label>};
  return command;
}

}  // namespace clearhead::cli
