// clearhead run answer: the words of a text that answer a question.
#include "base/format.h"
#include "clearhead/answers.h"
#include "cli/run_command.h"
#include "cli/terminal.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

struct FoundAnswer : TextAnswer {
  std::string words{};  // the best span
};

struct AnswerQuestion final : TextCommand<FoundAnswer> {
  AnswerQuestion() : TextCommand("answering") {}

  std::string question{};

  void add_options(CLI::App& app) override { app.add_option("--question", question, "The question")->required(); }

  FoundAnswer answer_text(const Model& of, const std::string& given) override {
    FoundAnswer out{answer(of, question, given, std::nullopt, interventions_in(of, question, given))};
    out.words = given.substr(static_cast<size_t>(out.begin), static_cast<size_t>(out.end - out.begin));
    return out;
  }

  Json json_of(const FoundAnswer& one) const override {
    const bool has_span = one.begin < one.end;
    return Json::object({{"answer", one.found ? Json(one.words) : Json()},
                         {"span", has_span ? Json(one.words) : Json()},
                         {"begin", one.begin},
                         {"end", one.end},
                         {"score", has_span ? Json(one.score) : Json()},
                         {"probability", one.probability},
                         {"null_score", one.null_score},
                         {"null_probability", one.null_probability}});
  }
  std::string line_of(const FoundAnswer& one) const override { return one.found ? as_line(one.words) : ""; }
  void print_answer(const FoundAnswer& one) const override {
    if (one.found) return print(format("{:>7.2f} %  {}", one.probability * 100, visible(one.words)));
    notice(format("the text does not contain the answer ({:.2f} %)", one.null_probability * 100));
  }
};

}  // namespace

const RunCommand& answer_command() {
  static const RunCommand command = {.name = "answer",
                                     .description = "Print the words of a text that answer a question, or report that there are none",
                                     .is_task_of = [](const ModelInfo& info) { return info.answers.has_value(); },
                                     .add = add_text_command<AnswerQuestion>};
  return command;
}

}  // namespace clearhead::cli
