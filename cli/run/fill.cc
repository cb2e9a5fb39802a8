// clearhead run fill: candidates for the mask tokens of a text.
#include "base/format.h"
#include "clearhead/answers.h"
#include "cli/places.h"
#include "cli/run_command.h"
#include "cli/terminal.h"

namespace clearhead::cli {
namespace {

using Masks = std::vector<std::vector<Candidate>>;  // the candidates for each mask

struct Fill final : TextCommand<Masks> {
  Fill() : TextCommand("filling") {}

  int64_t top = 5;

  void add_options(CLI::App& app) override {
    app.add_option("--top", top, "Number of candidates to print for each mask (default: 5)")->check(whole_from(1));
  }

  Masks answer_text(const Model& of, const std::string& given) override { return fill_mask(of, given, top, interventions_in(of, given)); }
  std::vector<Masks> answer_window(const Model& of, const Window& window) override {
    check_places_in(window, of);
    return answers_of_nonblank<Masks>(
        window, [&](const std::vector<std::string>& texts, const BatchOptions& options) { return fill_all(of, texts, top, options); });
  }

  Json json_of(const Masks& masks) const override {
    Json out = Json::array();
    for (const auto& candidates : masks) {
      Json list = Json::array();
      for (const Candidate& one : candidates)
        list.push(Json::object({{"id", static_cast<int64_t>(one.id)}, {"token", one.token}, {"probability", one.probability}}));
      out.push(list);
    }
    return Json::object({{"masks", out}});
  }
  std::string line_of(const Masks& masks) const override {
    std::string line;
    for (const auto& candidates : masks) {
      if (&candidates != masks.data()) line += " | ";
      for (const Candidate& one : candidates)
        line += format("{}{:.2f} % {}", &one == candidates.data() ? "" : "\t", one.probability * 100, visible(one.token));
    }
    return line;
  }
  void print_answer(const Masks& masks) const override {
    for (const auto& candidates : masks) {
      for (const Candidate& one : candidates) print(format("{:>7.2f} %  {}", one.probability * 100, visible(one.token)));
    }
  }
};

}  // namespace

const RunCommand& fill_command() {
  static const RunCommand command = {.name = "fill",
                                     .description = "Print candidates for every mask token of the text",
                                     .is_task_of = [](const ModelInfo& info) { return info.has_masked; },
                                     .specificity = 1,
                                     .add = add_text_command<Fill>};
  return command;
}

}  // namespace clearhead::cli
