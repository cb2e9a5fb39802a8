// The clearhead command line. Each subcommand has its own file; this file parses the arguments, runs the subcommand, and reports
// an error as one line and an exit code.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/file.h"
#include "base/format.h"
#include "base/nearest.h"
#include "base/parallel.h"
#include "cli/cli.h"
#include "cli/run_command.h"
#include "cli/terminal.h"

namespace clearhead::cli {
namespace {

constexpr const char* kAbout =
    "clearhead — attention you can see through: fused, exact, at any length.\n"
    "Give it a model and a text of any length. It runs the model with fused attention and shows exactly what every head\nattended to.";

constexpr const char* kExamples =
    "Examples:\n"
    "  clearhead show MODEL \"The cat sat on the mat.\"            a map with words, in the terminal\n"
    "  clearhead view MODEL --file book.txt                      the viewer, in the browser\n"
    "  clearhead ask MODEL --file prompt.txt --from A --to B     which heads link two spans\n"
    "  clearhead run embed MODEL \"text\" --json                   a sentence's vector\n"
    "MODEL is a trace, a directory, a shipped model, or a name in the local Hugging Face cache. Nothing is downloaded.";

// Handler of Ctrl-C: removes unfinished files and exits.
void interrupted(int signal) {
  if (keep_interrupt(signal)) return;
  remove_unfinished_files();
  leave_progress();
  ::_exit(128 + signal);
}

int report(const std::string& message, int code = 1) {
  std::fprintf(stderr, "clearhead: %s\n", escaped(one_line(message)).c_str());
  return code;
}

// The innermost subcommand on the command line; error messages point to its --help.
const CLI::App* innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().back();
  return at;
}

std::string full_name(const CLI::App* app) {
  return app->get_parent() ? full_name(app->get_parent()) + " " + app->get_name() : app->get_name();
}

// The message for an unexpected argument, with the nearest option or subcommand as a hint.
std::string unexpected(const CLI::App& app) {
  const CLI::App* command = innermost(app);
  const std::vector<std::string> rest = app.remaining(true);
  const std::string word = rest.empty() ? "" : rest.front();
  const bool is_option = word.size() > 1 && word[0] == '-';
  std::vector<std::string> known;
  if (is_option) {
    for (const CLI::App* at = command; at; at = at->get_parent()) {
      for (const CLI::Option* option : at->get_options()) {
        for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
      }
    }
  } else {
    for (const CLI::App* one : command->get_subcommands(nullptr)) known.push_back(one->get_name());
  }
  const std::vector<std::string_view> views(known.begin(), known.end());
  const bool is_command = !is_option && !known.empty();
  const char* what = is_option ? "has no option" : is_command ? "has no command" : "did not expect";
  return format("{} {} \"{}\"{}", full_name(command), what, word, nearest_hint(word, views, 1));
}

int usage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = innermost(app);
  const bool is_extra = !app.remaining(true).empty();
  if (!is_extra && !command->get_subcommands(nullptr).empty()) {
    std::fputs(command->help(command == &app ? "" : full_name(command->get_parent())).c_str(), stderr);
    return 2;
  }
  return report(format("{} ({} --help says more)", is_extra ? unexpected(app) : std::string(error.what()), full_name(command)), 2);
}

}  // namespace

// `clearhead run MODEL INPUT` runs the model's own task: inserts the name of the task. A mistyped task is left as it is.
static std::vector<std::string> with_own_task(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const std::vector<const CLI::App*> commands = app.get_subcommands([](const CLI::App*) { return true; });
  const auto is_command = [&](const std::string& word) {
    return std::any_of(commands.begin(), commands.end(), [&](const CLI::App* one) { return one->get_name() == word; });
  };
  const auto command = std::find_if(words.begin(), words.end(), is_command);
  const auto run = command != words.end() && *command == "run" ? command : words.end();  // not a folder "run" after another command
  if (run == words.end() || run + 1 == words.end() || run[1].starts_with('-')) return words;
  for (const CLI::App* task : app.get_subcommand("run")->get_subcommands(nullptr)) {
    if (task->get_name() == run[1]) return words;
  }
  std::vector<std::string> tasks;
  try {
    tasks = tasks_of(describe_model(run[1]));
  } catch (const Error& error) {
    std::vector<std::string> names;
    for (const CLI::App* task : app.get_subcommand("run")->get_subcommands(nullptr)) names.push_back(task->get_name());
    const bool is_mistyped_task = !nearest_names(run[1], {names.begin(), names.end()}, 1).empty();
    if (error.code() != ErrorCode::kNotFound || !is_mistyped_task) throw;
  }
  if (!tasks.empty()) words.insert(run + 1, tasks.back());
  return words;
}

// Makes every option take exactly one value each time it is given, so that an option does not consume the positional arguments
// after it. Options with several values are repeated, or take a comma-separated list.
static void take_one_value_each(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const bool takes_more = option->get_items_expected_max() > 1 || option->get_allow_extra_args();
    if (!option->get_positional() && takes_more)
      option->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  for (CLI::App* command : app.get_subcommands(nullptr)) take_one_value_each(*command);
}

static int run(int argc, char** argv) {
  CLI::App app(kAbout, "clearhead");
  app.footer(kExamples);
  app.require_subcommand(1);
  app.set_version_flag("--version", "clearhead " CLEARHEAD_VERSION);
  int thread_count = 0;
  app.add_option("--threads", thread_count, "Number of threads (default: the number of cores of this machine)")->check(whole_from(1, 1024));
  app.fallthrough();
  add_show(app);
  add_view(app);
  add_trace(app);
  add_ask(app);
  add_atlas(app);
  add_circuits(app);
  add_robust(app);
  add_attend(app);
  add_tokens(app);
  add_cite(app);
  add_judge(app);
  add_run(app);
  add_train(app);
  add_vocabulary(app);
  add_why(app);
  add_bleu(app);
  add_info(app);
  add_doctor(app);
  add_bench(app);
  add_demo(app);
  add_completion(app);
  take_one_value_each(app);
  app.parse_complete_callback([&thread_count] {
    if (thread_count > 0) set_threads(thread_count);
  });
  try {
    std::vector<std::string> words = with_own_task(app, argc, argv);
    std::reverse(words.begin(), words.end());  // CLI11 parses the vector from its end
    app.parse(std::move(words));
    const bool flushed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    return flushed ? 0 : report(format("standard output cannot be written: {}", std::strerror(errno)));
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return usage(app, error);
  } catch (const UsageError& error) {
    return report(error.what(), 2);
  } catch (const Error& error) {
    return report(error.what());
  } catch (const std::bad_alloc&) {
    const bool keeps = innermost(app)->get_option_no_throw("--budget");
    return report(keeps ? "out of memory; use a shorter text, a smaller --budget or fewer --layers"
                        : "out of memory; use a shorter text, a smaller batch or fewer beams");
  } catch (const std::exception& error) {  // from the standard library: one of our checks is missing
    return report(format("internal error: {}; please report it with the command that caused it", error.what()));
  }
}

}  // namespace clearhead::cli

int main(int argc, char** argv) {
  // If stdin, stdout or stderr is closed, the next opened file would get its descriptor, and output would go to that file.
  for (int descriptor = 0; descriptor < 3; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF) (void)!::open("/dev/null", O_RDWR);
  }
  std::signal(SIGINT, clearhead::cli::interrupted);
  std::signal(SIGTERM, clearhead::cli::interrupted);
  std::signal(SIGHUP, clearhead::cli::interrupted);
  std::signal(SIGXFSZ, SIG_IGN);  // a write beyond `ulimit -f` then fails with an error instead of a signal
  clearhead::guard_mappings();
  return clearhead::cli::run(argc, argv);
}
