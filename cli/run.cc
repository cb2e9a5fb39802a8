// clearhead run COMMAND MODEL TEXT: prints a model's answer. The commands are the files of cli/run.
#include <algorithm>
#include <stdexcept>

#include "base/format.h"
#include "cli/input.h"
#include "cli/places.h"
#include "cli/run_command.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::cli {

std::vector<const RunCommand*> commands_of(const ModelInfo& info) {
  std::vector<const RunCommand*> commands;
  for (const RunCommand* command : run_commands()) {
    if (command->is_task_of && command->is_task_of(info)) commands.push_back(command);
  }
  std::stable_sort(commands.begin(), commands.end(),
                   [](const RunCommand* a, const RunCommand* b) { return a->specificity < b->specificity; });
  return commands;
}

std::vector<std::string> tasks_of(const ModelInfo& info) {
  std::vector<std::string> out;
  for (const RunCommand* command : commands_of(info)) out.push_back(command->name);
  return out;
}

void check_commands_of_tasks() {
  for (const tasks::TaskDefinition* task : tasks::task_definitions()) {
    if (task->commands.empty()) throw std::logic_error(format("src/tasks: {}: names no command of \"clearhead run\"", task->name));
    for (const tasks::CommandExample& example : task->commands) {
      if (std::none_of(run_commands().begin(), run_commands().end(), [&](const RunCommand* one) { return one->name == example.name; }))
        throw std::logic_error(
            format("src/tasks: {}: \"clearhead run\" has no command \"{}\"; add cli/run/{}.cc", task->name, example.name, example.name));
    }
  }
}

void TextCommandBase::add(CLI::App& app) {
  app.add_option("model", model, "A model (its directory, or its name in the local Hugging Face cache)")->required();
  text.add(app);
  app.add_flag("--json", json, "Print JSON");
  app.add_flag("--lines", lines,
               "Print one answer for each line of the text, in order (with --json one object per line);\n"
               "lines of similar length run in one batch");
  interventions.add(app);
  add_load_options(app, load);
  add_options(app);
}

void TextCommandBase::run() {
  check_options();
  const auto loaded = load_model(model, load);
  begin(*loaded);
  if (lines) return answer_lines(*this, *loaded);
  if (!text.given()) usage_error("give a text, --file, or - for standard input");
  answer_and_print(*loaded, given_to(loaded->info(), text));
}

Interventions TextCommandBase::interventions_in(const Model& of, const std::string& given, const std::string& pair, int64_t more) const {
  Interventions out = interventions.interventions();
  check_places_in(out, of, given, pair, more);
  return out;
}

std::vector<Encoding> encoded_lines(const Model& model, const std::vector<std::string>& lines, const EncodeOptions& how) {
  std::vector<Encoding> out(lines.size());
  parallel_ranges(static_cast<int64_t>(lines.size()), 16, [&](int64_t begin, int64_t end, int) {
    for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at) out[at] = model.tokenizer().encode(lines[at], how);
  });
  return out;
}

void notice_trace(const std::string& path, bool was_written) {
  notice(was_written ? format("trace written to {}; to view it: clearhead view {}", path, path)
                     : format("{}: no trace was written, because the model generated nothing", path));
}

void add_run(CLI::App& app) {
  std::string names;
  for (const RunCommand* command : run_commands()) names += (names.empty() ? "" : ", ") + command->name;
  CLI::App* run = app.add_subcommand("run", "Run a model and print its answer: " + names);
  run->require_subcommand(1);
  run->footer(
      "If no task is given, the model's own task is run: clearhead run MODEL INPUT.\nExamples:\n  clearhead run embed MODEL \"text\" "
      "--json\n  clearhead run embed MODEL --file lines.txt --lines -o vectors.npy\n  "
      "clearhead run generate MODEL \"Once upon\" --max-tokens 40 --greedy");
  for (const RunCommand* command : run_commands()) command->add(*run->add_subcommand(command->name, command->description));
}

}  // namespace clearhead::cli
