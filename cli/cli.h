// What every subcommand shares. One file per subcommand: `void add_NAME(CLI::App& app)` declares its options and leaves a callback that does the work.
//
// A command prints its answer on stdout (JSON with --json), progress and notices on stderr, errors as one line. Exit codes: 0 done, 1 could not be done,
// 2 the command line was wrong, 130 interrupted. To add one: a file here, its line in commands().
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "judge/subject.h"
#include "models/trace_text.h"

namespace clearhead::cli {

void add_ask(CLI::App& app);
void add_atlas(CLI::App& app);
void add_attend(CLI::App& app);
void add_bench(CLI::App& app);
void add_bleu(CLI::App& app);
void add_completion(CLI::App& app);
void add_demo(CLI::App& app);
void add_doctor(CLI::App& app);
void add_info(CLI::App& app);
void add_judge(CLI::App& app);
void add_robust(CLI::App& app);
void add_run(CLI::App& app);
void add_run_chat(CLI::App& run);
void add_run_summarise(CLI::App& run);
void add_run_transcribe(CLI::App& run);
void add_run_translate(CLI::App& run);
void add_show(CLI::App& app);
void add_tokens(CLI::App& app);
void add_trace(CLI::App& app);
void add_train(CLI::App& app);
void add_view(CLI::App& app);
void add_vocabulary(CLI::App& app);
void add_why(CLI::App& app);

/// What main() turns into one line and exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void usage_error(const std::string& message);

/// An argument as a shell has to be given it.
std::string quoted(const std::string& text);

/// The lines of a text, without what ends them.
std::vector<std::string> lines_of(const std::string& text);

/// Prints JSON on one line.
void print_json(const Json& json);
void print(const std::string& text);   ///< to stdout, a line
void notice(const std::string& text);  ///< to stderr, a line
/// Lines to stdout, now: an interrupt waits until they are written, a second one does not.
void print_whole(const std::string& lines);
/// For the handler of Ctrl-C: true where lines are being written and the interrupt is kept for later. Async-signal-safe.
bool keep_interrupt(int signal);

/// Text from an argument, --file, or standard input with "-".
struct TextArguments {
  std::string text{}, file{};
  bool has_text = false;  ///< an empty text is one too
  void add(CLI::App& app);
  bool given() const { return has_text || !file.empty(); }
  bool is_standard_input() const { return text == "-" || file == "-"; }
  std::string read() const;
};

/// --knock-out, --cut, --keep-only.
struct InterventionArguments {
  std::vector<std::string> knock_out{}, cut{}, keep_only{};
  void add(CLI::App& app);
  Interventions interventions() const;
  std::string as_typed() const;
  bool given() const { return !knock_out.empty() || !cut.empty() || !keep_only.empty(); }
};

/// MODEL with a text, or a TRACE: everything that the looking commands take.
struct LookArguments {
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
  judge::Asked asked{};  // what the gradients are of

  void add(CLI::App& app);
  /// A trace answers without running anything: options that shape a run are refused with it.
  void refuse_run_options() const;
  /// Runs the model on the text, or loads the trace; says on stderr what was cut or not kept.
  Trace trace();
  /// The command that looks at the same again, for a shell. A long text is named by its file, or as one.
  std::string as_typed(const char* command) const;
  /// The model, when one was run.
  std::shared_ptr<const Model> loaded{};
  /// What it was given, where it reads no text.
  std::optional<ModelInput> input{};

 private:
  Trace trace_of_input(const TextRequest& request);
  Trace trace_of_written(const TextRequest& request);
  Trace trace_of_answer(const TextRequest& request);
  void name_segments(Trace& trace) const;
};

/// "10:20/3:5@L3.H5": queries, keys, and where. Throws usage_error naming the option.
Interventions::Pairs parse_pairs(const std::string& text, const std::string& option);

/// A whole number from `least` to `most`; and a number above 0 and up to `most`.
CLI::Validator whole_from(int64_t least, int64_t most = 1'000'000'000);
CLI::Validator above_zero(double most = 1e9);

/// A file with a trace's metadata?
bool is_trace_file(const std::string& path);
/// Loads a model; prints first what converting its weights to f32 will take.
std::shared_ptr<const Model> load_model(const std::string& name, const LoadOptions& options = {});

/// Of "f32", "bf16" or "f16": an option that takes one checks that first.
DType dtype_named(const std::string& name);
/// --precision, what linear layers and attention multiply, and --weights, what linear layers are kept as.
void add_load_options(CLI::App& app, LoadOptions& load);

/// "1204" → [1204, 1205); "1204:1210" → [1204, 1210). Throws usage_error naming the option.
Range parse_range(const std::string& text, const std::string& option);
/// The whole decimal number a text is, or nothing.
std::optional<int64_t> whole_number(std::string_view text);
std::vector<int> parse_layers(const std::string& text);                    ///< "0,3,5:8"
uint64_t parse_bytes(const std::string& text, const std::string& option);  ///< "2G", "512M", "60MB"
struct HeadName {
  int layer = 0;
  int64_t head = 0;
};
HeadName parse_head(const std::string& text, const std::string& option = "--head");  ///< "L3.H5" or "3.5"
std::string head_name(int layer, int64_t head);

/// A span of tokens: "#12", "#12:20", "seg:NAME", text that occurs in the text (the first time it does), or a segment's name that does not.
Range find_span(const RunText& text, const std::string& span);

/// Translates a line by an encoder-decoder; prints it, and which source words each word was chosen by.
Trace print_translation(const Model& model, const std::string& line);

/// The line of progress on stderr, with time left, for what takes longer than a second; silent when stderr is no terminal.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  std::function<void(double)> callback();  // null when nobody would see it

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Moves on from a line of progress that stays as it is. Async-signal-safe.
void leave_progress();

}  // namespace clearhead::cli
