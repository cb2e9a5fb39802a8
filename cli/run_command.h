// The commands of `clearhead run`. Each file of cli/run defines one: NAME.cc with NAME_command(). CMake lists the files, so that
// no other code names them.
#pragma once

#include <string>
#include <vector>

#include "base/parallel.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/lines.h"
#include "generate/trace_of.h"

namespace clearhead::cli {

struct RunCommand {
  std::string name{}, description{};
  /// True if the command is a task of the model: `clearhead info` lists it. Null: it is a task of no model.
  bool (*is_task_of)(const ModelInfo&) = nullptr;
  /// `clearhead run MODEL` runs the model's task with the highest number. 0: a task of nearly every model; 1: the objective of
  /// pretraining; 2: a task with its own head; above: a special case of a task with a lower number.
  int specificity = 2;
  /// Declares the options, and the callback that runs the command.
  void (*add)(CLI::App& app) = nullptr;
  /// The model's answer to an example in one line, for `clearhead demo`, which uses the most specific task with this function. May be null.
  std::string (*answer_example)(const Model& model, const ModelInput& input, const TracedInput& traced) = nullptr;
};

/// All commands, in alphabetical order.
const std::vector<const RunCommand*>& run_commands();
/// The commands of the model's tasks, from the least to the most specific one, which is the default.
std::vector<const RunCommand*> commands_of(const ModelInfo& info);
/// Their names.
std::vector<std::string> tasks_of(const ModelInfo& info);
/// Throws std::logic_error if the registry of tasks (src/tasks) names a command that does not exist.
void check_commands_of_tasks();

/// The part of TextCommand that does not depend on the type of its answers.
struct TextCommandBase {
  const char* doing = "";  ///< shown in the progress line of --lines: "embedding"
  std::string model{};
  TextArguments text{};
  InterventionArguments interventions{};
  LoadOptions load{};
  bool json = false, lines = false;

  explicit TextCommandBase(const char* progress) : doing(progress) {}
  virtual ~TextCommandBase() = default;

  /// Declares the arguments above and the command's own.
  void add(CLI::App& app);
  void run();
  /// The interventions, after a check that their queries and keys exist in this text or input. more: the number of tokens that are
  /// generated after it.
  Interventions interventions_in(const Model& of, const std::string& given, const std::string& pair = "", int64_t more = 0) const;

  virtual void add_options(CLI::App&) {}  ///< declares the command's own options
  virtual void check_options() const {}   ///< called before the model is loaded
  virtual void begin(const Model&) {}     ///< called before the first answer
  virtual bool prints_lines() const { return true; }
  virtual void skip_line() {}     ///< called, in order, for each line without an answer
  virtual void finish_lines() {}  ///< called after the last line, before the error for lines without an answer is thrown

  /// Answers a text and prints the answer.
  virtual void answer_and_print(const Model& of, const std::string& given) = 0;
  /// The output for a window, one string per line; empty if nothing is printed. May throw for a line.
  virtual std::vector<std::string> lines_for(const Model& of, const Window& window) = 0;
  /// The output for a blank line that the command refuses.
  virtual std::string blank_line() const = 0;
};

/// A command that answers one text or, with --lines, each line of a text. Answer() is the answer to a blank line.
template <class Answer>
struct TextCommand : TextCommandBase {
  using TextCommandBase::TextCommandBase;

  virtual Answer answer_text(const Model& of, const std::string& given) = 0;
  /// One answer for each line of a window. A command that is faster on many lines at once replaces it.
  virtual std::vector<Answer> answer_window(const Model& of, const Window& window) {
    std::vector<Answer> out;
    for (const std::string& line : window.lines) {
      out.push_back(answer_text(of, line));
      if (window.options.progress) window.options.progress(static_cast<double>(out.size()) / static_cast<double>(window.lines.size()));
    }
    return out;
  }
  virtual Json json_of(const Answer&) const = 0;         ///< for --json
  virtual std::string line_of(const Answer&) const = 0;  ///< for --lines
  virtual void print_answer(const Answer&) const = 0;    ///< for a person

  void answer_and_print(const Model& of, const std::string& given) final {
    const Answer answer = answer_text(of, given);
    json ? print_json(json_of(answer)) : print_answer(answer);
  }
  std::vector<std::string> lines_for(const Model& of, const Window& window) final {
    const std::vector<Answer> answers = answer_window(of, window);
    std::vector<std::string> out(prints_lines() ? answers.size() : 0);
    // In parallel, because formatting numbers takes as long as running a small model.
    parallel_ranges(static_cast<int64_t>(out.size()), 16, [&](int64_t begin, int64_t end, int) {
      for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at)
        out[at] = json ? json_of(answers[at]).dump() : line_of(answers[at]);
    });
    return out;
  }
  std::string blank_line() const final { return json ? json_of(Answer()).dump() : ""; }
};

/// RunCommand::add for a TextCommand.
template <class Command>
void add_text_command(CLI::App& app) {
  const auto command = std::make_shared<Command>();
  command->add(app);
  app.callback([command] { command->run(); });
}

/// Encodes lines in parallel.
std::vector<Encoding> encoded_lines(const Model& model, const std::vector<std::string>& lines, const EncodeOptions& how);
/// Reports on stderr that a run was written to this trace file, or that the model generated nothing whose attention could be stored.
void notice_trace(const std::string& path, bool was_written = true);

}  // namespace clearhead::cli
