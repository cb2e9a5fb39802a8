// clearhead run classify: the labels of a text, a pair of texts or another input with their probabilities, or the value of a
// regression.
#include <algorithm>
#include <optional>
#include <span>

#include "base/format.h"
#include "clearhead/answers.h"
#include "cli/input.h"
#include "cli/places.h"
#include "cli/run_command.h"

namespace clearhead::cli {
namespace {

using Classes = std::vector<ClassScore>;

struct Classify final : TextCommand<Classes> {
  Classify() : TextCommand("classifying") {}

  std::string pair{};
  int64_t top = 10;
  ProblemType problem = ProblemType::kSingleLabel;

  void add_options(CLI::App& app) override {
    app.add_option("--pair,--question", pair, "The second text, for classifiers of pairs; the question, for question-answering models");
    app.add_option("--top", top, "How many labels to print (default: 10; JSON has all)")->check(whole_from(1));
  }
  void begin(const Model& of) override { problem = of.info().problem; }
  std::optional<std::string_view> second_text() const { return pair.empty() ? std::nullopt : std::optional<std::string_view>(pair); }

  Classes answer_text(const Model& of, const std::string& given) override {
    const Interventions changes = interventions_in(of, given, pair);
    if (reads_inputs(of.info())) return classify_inputs(of, {input_of(of.info(), given, pair)}, changes)[0];
    return classify(of, given, second_text(), changes);
  }
  std::vector<Classes> answer_window(const Model& of, const Window& window) override {
    check_places_in(window, of, pair);
    if (!reads_inputs(of.info())) return classify_all(of, window.lines, second_text(), window.options);
    std::vector<ModelInput> inputs;
    for (const std::string& line : window.lines) inputs.push_back(input_of(of.info(), line, pair));
    return classify_inputs(of, inputs, window.options.interventions);
  }

  Json json_of(const Classes& classes) const override {
    const char* name = problem == ProblemType::kRegression ? "value" : "probability";
    Json list = Json::array();
    for (const ClassScore& one : classes) list.push(Json::object({{"label", one.label}, {name, one.probability}}));
    return Json::object({{"classes", list}});
  }
  std::string line_of(const Classes& classes) const override {
    std::string line;
    for (const ClassScore& one : classes)
      line += format("{}{} {}", &one == classes.data() ? "" : "\t", score_text(one, problem), one.label);
    return line;
  }
  void print_answer(const Classes& classes) const override {
    const size_t shown = std::min(classes.size(), static_cast<size_t>(top));
    for (const ClassScore& one : std::span(classes).first(shown)) print(format("{:>9}  {}", score_text(one, problem), one.label));
    if (const size_t more = classes.size() - shown; more > 0)
      notice(format("{} more {}; to print all: --top {}", more, more == 1 ? "label" : "labels", classes.size()));
  }
};

std::string answer_example(const Model& model, const ModelInput& input, const TracedInput&) {
  const ClassScore best = reads_inputs(model.info()) ? classify_inputs(model, {input})[0][0] : classify(model, input.text, input.pair)[0];
  return format("{} ({})", best.label, score_text(best, model.info().problem));
}

}  // namespace

const RunCommand& classify_command() {
  static const RunCommand command = {
      .name = "classify",
      .description = "Print the probabilities of a classifier's labels, or the value of a regression",
      .is_task_of = [](const ModelInfo& info) { return info.has_classifier && !info.answers && !info.tags && info.output.empty(); },
      .add = add_text_command<Classify>,
      .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
