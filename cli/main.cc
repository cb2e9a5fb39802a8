// clearhead — the command line. Each subcommand has its own file; this one parses, runs, and turns errors into one line and an exit code.
#include <unistd.h>
#include <csignal>
#include <cstdio>

#include "base/file.h"
#include "base/format.h"
#include "base/parallel.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

constexpr const char* kAbout =
    "clearhead — attention you can see through: fused, exact, at any length.\n"
    "Give it a model and a text of any length; it runs the model with fused attention and shows exactly what every head attended to.";

constexpr const char* kExamples =
    "Examples:\n"
    "  clearhead show MODEL \"The cat sat on the mat.\"            a map with words, in the terminal\n"
    "  clearhead view MODEL --file book.txt                      the viewer, in the browser\n"
    "  clearhead ask MODEL --file prompt.txt --from ANSWER --to \"doc 3\"   which heads link two spans\n"
    "  clearhead run embed MODEL \"text\" --json                   a sentence's vector\n"
    "MODEL is a trace, a directory, a shipped model, or a name in the local Hugging Face cache. Nothing is downloaded.";

// Ctrl-C: nothing half-written stays behind.
void interrupted(int) {
  remove_unfinished_files();
  ::_exit(130);
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

int report(const char* what) {
  std::fprintf(stderr, "clearhead: %s\n", one_line(what).c_str());
  return 1;
}

}  // namespace

static int run(int argc, char** argv) {
  CLI::App app(kAbout, "clearhead");
  app.footer(kExamples);
  app.require_subcommand(1);
  app.set_version_flag("--version", "clearhead " CLEARHEAD_VERSION);
  int thread_count = 0;
  app.add_option("--threads", thread_count, "Threads to compute with (default: the cores of this machine)")->check(CLI::PositiveNumber);
  app.fallthrough();
  add_show(app);
  add_view(app);
  add_trace(app);
  add_ask(app);
  add_atlas(app);
  add_attend(app);
  add_tokens(app);
  add_run(app);
  add_info(app);
  add_doctor(app);
  add_bench(app);
  add_demo(app);
  add_completion(app);
  app.parse_complete_callback([&thread_count] {
    if (thread_count > 0) set_threads(thread_count);
  });
  try {
    app.parse(argc, argv);
    return std::fflush(stdout) == 0 ? 0 : report("standard output cannot be written");
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "clearhead: %s (clearhead --help lists what there is)\n", one_line(error.what()).c_str());
    return 2;
  } catch (const Error& error) {
    return report(error.what());
  } catch (const std::bad_alloc&) {
    return report("out of memory; --budget keeps traces smaller, --layers keeps fewer layers");
  } catch (const std::exception& error) {
    return report(error.what());
  }
}

}  // namespace clearhead::cli

int main(int argc, char** argv) {
  std::signal(SIGINT, clearhead::cli::interrupted);
  std::signal(SIGTERM, clearhead::cli::interrupted);
  return clearhead::cli::run(argc, argv);
}
