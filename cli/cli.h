// Declarations that all subcommands share. Each subcommand has one file, in which `void add_NAME(CLI::App& app)` declares the
// options and sets a callback that does the work.
//
// A command prints its answer to stdout (JSON with --json), and progress and notices to stderr; an error is one line. Exit codes:
// 0 success, 1 failure, 2 invalid command line, 130 interrupted. To add a subcommand: a file here, its declaration below, and its
// line in run() of main.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/answers.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "explain/attribution_target.h"
#include "explain/main_answers.h"
#include "models/trace_text.h"

namespace clearhead::cli {

void add_ask(CLI::App& app);
void add_atlas(CLI::App& app);
void add_attend(CLI::App& app);
void add_bench(CLI::App& app);
void add_bleu(CLI::App& app);
void add_circuits(CLI::App& app);
void add_cite(CLI::App& app);
void add_completion(CLI::App& app);
void add_demo(CLI::App& app);
void add_doctor(CLI::App& app);
void add_info(CLI::App& app);
void add_judge(CLI::App& app);
void add_robust(CLI::App& app);
void add_run(CLI::App& app);
void add_show(CLI::App& app);
void add_tokens(CLI::App& app);
void add_trace(CLI::App& app);
void add_train(CLI::App& app);
void add_view(CLI::App& app);
void add_vocabulary(CLI::App& app);
void add_why(CLI::App& app);

/// An invalid command line. main() prints its message as one line and exits with code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void usage_error(const std::string& message);

/// Quotes an argument for a shell, if it needs quotes.
std::string quoted(const std::string& text);

/// The lines of a text, without their line ends (\n or \r\n).
std::vector<std::string> lines_of(const std::string& text);

/// Prints JSON on one line.
void print_json(const Json& json);
void print(const std::string& text);   ///< to stdout, followed by a line end
void notice(const std::string& text);  ///< to stderr, followed by a line end
/// Writes lines to stdout and flushes. An interrupt is delayed until they are written; a second interrupt is not.
void print_whole(const std::string& lines);
/// For the Ctrl-C handler: returns true if print_whole is writing, which then raises the signal itself when it is done.
/// Async-signal-safe.
bool keep_interrupt(int signal);

/// The text to read: an argument, --file, or standard input ("-").
struct TextArguments {
  std::string text{}, file{};
  bool has_text = false;  ///< true for an empty text, too
  void add(CLI::App& app);
  bool given() const { return has_text || !file.empty(); }
  bool is_standard_input() const { return text == "-" || file == "-"; }
  std::string read() const;
};

/// The options --knock-out, --cut and --keep-only.
struct InterventionArguments {
  std::vector<std::string> knock_out{}, cut{}, keep_only{};
  void add(CLI::App& app);
  Interventions interventions() const;
  std::string as_typed() const;
  bool given() const { return !knock_out.empty() || !cut.empty() || !keep_only.empty(); }
};

/// The arguments of the commands that inspect attention: MODEL with a text, or TRACE, and their options.
struct TraceArguments {
  std::string model{};
  TextArguments text{};
  std::string pair{}, budget{}, layers{}, segments{};
  std::vector<std::string> rows{};
  InterventionArguments interventions{};
  LoadOptions load{};
  bool truncate = false;
  int64_t window = 0;
  std::optional<int64_t> overlap{};
  bool statistics_in_run = false, gradients = false;
  explain::TargetSpec asked{};  // the target of the gradients

  void add(CLI::App& app);
  /// Throws usage_error if an option is given that only affects a run; with a trace, nothing is run.
  void refuse_run_options() const;
  /// Runs the model on the text, or loads the trace. Notices on stderr report what was truncated or not kept.
  Trace trace();
  /// A shell command that inspects the same run again. A text of more than 200 bytes that was not read from a file is written as
  /// "--file TEXT".
  std::string as_typed(const char* command) const;
  /// The model, if one was run.
  std::shared_ptr<const Model> loaded{};
  /// The model's input, if it reads something other than one text.
  std::optional<ModelInput> input{};
  /// The answers of the model, if `with_answers` was set before the run.
  std::vector<explain::ShownAnswer> answers{};
  bool with_answers = false;

 private:
  Trace trace_of_answer(const TraceRequest& request);
  void name_segments(Trace& trace) const;
};

/// Parses "10:20/3:5@L3.H5": queries, keys, and optionally a family, layer or head. Throws usage_error that names the option.
Interventions::Pairs parse_pairs(const std::string& text, const std::string& option);

/// Validators for a whole number in [least, most], and for a number in (0, most].
CLI::Validator whole_from(int64_t least, int64_t most = 1'000'000'000);
CLI::Validator above_zero(double most = 1e9);

/// True for a file with the metadata of a trace. Throws kFormat for a file that is not in safetensors format.
bool is_trace_file(const std::string& path);
/// Loads a model. If its weights are converted to f32, a notice first reports the bytes in the file and in memory.
std::shared_ptr<const Model> load_model(const std::string& name, const LoadOptions& options = {});

/// The dtype named "f32", "bf16" or "f16". Callers must refuse other names beforehand; for these the result is f32.
DType dtype_named(const std::string& name);
/// Adds --precision (the dtype in which linear layers and attention multiply) and --weights (how linear layers store weights).
void add_load_options(CLI::App& app, LoadOptions& load);

/// "1204" → [1204, 1205); "1204:1210" → [1204, 1210). Throws usage_error that names the option.
Range parse_range(const std::string& text, const std::string& option);
/// The value of a text of 1 to 18 decimal digits; std::nullopt for any other text.
std::optional<int64_t> whole_number(std::string_view text);
std::vector<int> parse_layers(const std::string& text);                    ///< "0,3,5:8"
uint64_t parse_bytes(const std::string& text, const std::string& option);  ///< "2G", "512M", "60MB"
struct HeadName {
  int layer = 0;
  int64_t head = 0;
};
HeadName parse_head(const std::string& text, const std::string& option = "--head");  ///< "L3.H5" or "3.5"
std::string head_name(int layer, int64_t head);

/// Finds a span of tokens. `span` is "#12", "#12:20", "seg:NAME", or a string whose first occurrence in the text is taken; a
/// string that does not occur in the text may be the name of a segment or of an item.
Range find_span(const RunText& text, const std::string& span);

/// A class's score: "97.20 %", or the value of a regression.
std::string score_text(const ClassScore& score, ProblemType problem);

/// A progress line on stderr with the time left. It appears after one second, and only if stderr is a terminal.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  std::function<void(double)> callback();  // null if stderr is not a terminal

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Ends the progress line, which stays on the screen. Async-signal-safe.
void leave_progress();

}  // namespace clearhead::cli
