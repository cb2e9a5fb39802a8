// clearhead view MODEL TEXT | TRACE… | RUN/watch: opens the viewer in the browser, or writes one page that works offline, or a site.
#include <spawn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "cli/cli.h"
#include "cli/look.h"
#include "models/input_kind.h"
#include "viewer/export.h"
#include "viewer/opening.h"
#include "viewer/server.h"
#include "viewer/side_by_side.h"

extern char** environ;

namespace clearhead::cli {
namespace {

struct Options {
  TraceArguments look;
  int port = 0;
  bool no_browser = false, with_model = false;
  std::string html, site, state, query, head, page_size;
  std::vector<std::string> traces;  // after the first
};

// The family that a viewer state names ("f=cross"), or the trace's main family.
std::string family_in(const std::string& state, const Trace& trace) {
  const size_t at = state.starts_with("f=") ? 0 : state.find("&f=");
  if (at == std::string::npos) return trace.main_family();
  const size_t begin = state.find('=', at) + 1;
  return family_of(trace, state.substr(begin, state.find('&', begin) - begin));
}

// The trace that is shown first: the last step of a training run, otherwise the first trace.
const viewer::LoadedTrace& first_of(const std::vector<viewer::LoadedTrace>& traces) {
  return traces[0].options().is_run ? traces.back() : traces.front();
}

std::string state_of(const Options& options, const Trace& trace) {
  std::string state = options.state;
  if (!state.empty() && state[0] == '#') state.erase(0, 1);
  const auto add = [&](const std::string& part) { state += (state.empty() ? "" : "&") + part; };
  if (!options.head.empty()) {
    const HeadName head = parse_head(options.head);
    check_head(trace, family_in(state, trace), head.layer, head.head);
    add(format("h={}.{}", head.layer, head.head));
  }
  if (!options.query.empty()) {
    const bool is_number = options.query.find_first_not_of("0123456789") == std::string::npos;
    const Range span = find_span(trace.plan().text, is_number ? "#" + options.query : options.query);
    const Range range = rows_of(trace, family_in(state, trace), span);  // the rows that wrote it, if the model writes its text
    add(range.size() == 1 ? format("q={}", range.begin) : format("q={}-{}", range.begin, range.end));
  }
  return state;
}

// The state in which the page opens.
std::string opening_of(const Options& options, std::vector<viewer::LoadedTrace>& traces) {
  const bool asks_for_none = options.state.empty() && options.head.empty() && options.query.empty();
  return asks_for_none && traces.size() == 1 ? viewer::opening_state(traces[0]) : state_of(options, first_of(traces).trace());
}

void write_page(const Options& options, std::vector<viewer::LoadedTrace> traces) {
  const bool is_site = !options.site.empty();
  const std::string& path = is_site ? options.site : options.html;
  viewer::ExportOptions page;
  page.command = traces[0].options().command + (is_site ? " --site " : " --html ") + quoted(path);
  page.state = opening_of(options, traces);
  if (is_site) page.budget_bytes = 200'000'000;  // a browser loads only the parts that it shows
  if (!options.page_size.empty()) page.budget_bytes = viewer::parse_budget(options.page_size);
  Progress progress(is_site ? "site" : "page");
  page.look.progress = progress.callback();
  page.with_models = options.with_model;
  const viewer::ExportedPage written = is_site ? viewer::export_site(traces, path, page) : viewer::export_html(traces, path, page);
  std::string holds;
  for (const std::string& what : written.holds) holds += (holds.empty() ? "" : ", ") + what;
  print(format("{}: {} (contains {})", path, human_bytes(written.bytes), holds));
  if (is_site) print(format("any web server can serve it; to try it: python3 -m http.server --directory {}", quoted(path)));
}

void open_browser(const std::string& url) {
  if (!std::getenv("DISPLAY") && !std::getenv("WAYLAND_DISPLAY")) return;
  std::string program = "xdg-open", address = url;
  char* arguments[] = {program.data(), address.data(), nullptr};
  pid_t child = 0;
  ::posix_spawnp(&child, program.c_str(), nullptr, nullptr, arguments, environ);  // if it fails, the printed address remains
}

viewer::LoadedTrace::Options loaded_options(const Options& options, const std::string& command) {
  viewer::LoadedTrace::Options loaded;
  loaded.command = command;
  loaded.model = options.look.loaded;
  loaded.load = options.look.load;
  loaded.input = options.look.input;
  loaded.answers = options.look.answers;
  loaded.version = CLEARHEAD_VERSION;
  if (!options.look.budget.empty()) loaded.trace.budget_bytes = parse_bytes(options.look.budget, "--budget");
  return loaded;
}

void serve(const Options& options, std::vector<viewer::LoadedTrace> traces) {
  const std::string state = opening_of(options, traces);
  viewer::ViewServer server(std::move(traces), {.port = options.port});
  const std::string opens_at = state.empty() ? "" : "#" + state;
  print(server.url() + opens_at);
  char host[256] = "HOST";
  ::gethostname(host, sizeof host - 1);
  notice(format("from another machine: run ssh -L {0}:127.0.0.1:{0} {1} there, then open the address above. Ctrl-C quits.", server.port(),
                host));
  std::fflush(stdout);
  if (!options.no_browser) open_browser(server.url_for_once() + opens_at);
  server.serve();
}

void check_page_options(const Options& options) {
  if (options.with_model && options.html.empty() && options.site.empty())
    usage_error("--with-model applies to --html and --site: add --html FILE or --site FOLDER");
  if (options.page_size.empty()) return;
  if (options.html.empty() && options.site.empty())
    usage_error("--page-size applies to --html and --site: add --html FILE or --site FOLDER");
  try {
    viewer::parse_budget(options.page_size);
  } catch (const Error&) {
    usage_error(format("--page-size: expected a size like 20MB or 1GiB, found \"{}\"", options.page_size));
  }
}

// Opens the steps of a watched training run, or several traces; neither needs a run of a model. Returns an empty list for one
// trace, or for a model and a text.
std::vector<viewer::LoadedTrace> traces_without_run(const Options& options, const std::string& command) {
  TraceArguments look = options.look;
  const bool is_watched = viewer::is_watch_folder(look.model);
  std::vector<std::string> files = options.traces;
  if (!is_watched && look.text.has_text && is_trace_file(look.model)) {
    files.insert(files.begin(), {look.model, look.text.text});
    look.text.has_text = false;
  } else if (!files.empty()) {
    usage_error(format("\"{}\": unexpected argument; a model reads one text, and only trace files can be shown side by side", files[0]));
  }
  if (!is_watched && files.empty()) return {};
  look.refuse_run_options();
  if (!look.segments.empty()) usage_error("--segments names sections of one text, but several traces were given");
  if (is_watched) return viewer::open_checkpoints(look.model, loaded_options(options, command));
  std::vector<viewer::ShownTrace> traces;
  for (const std::string& file : files) {
    if (!is_trace_file(file))
      usage_error(format("\"{}\": expected another trace, because a trace already has its text; to read a new text, give a model", file));
    traces.push_back({std::make_shared<const Trace>(Trace::load(file))});
  }
  traces[0].state = state_of(options, *traces[0].trace);
  return viewer::side_by_side(traces, loaded_options(options, command));
}

void run(Options& options) {
  std::string command = options.look.as_typed("view");
  for (const std::string& trace : options.traces) command += " " + quoted(trace);
  check_page_options(options);
  if (!options.html.empty()) check_writable(options.html);
  if (!options.site.empty()) viewer::check_new_folder(options.site);
  std::vector<viewer::LoadedTrace> traces = traces_without_run(options, command);
  if (traces.empty()) {
    options.look.with_answers = true;
    auto trace = std::make_shared<const Trace>(options.look.trace());  // first, because it loads the model that loaded_options reads
    traces.emplace_back(std::move(trace), loaded_options(options, command));
    if (options.look.input && options.query.empty() && options.state.empty()) {
      if (const auto item = selected_item(*options.look.loaded, *options.look.input)) options.query = std::to_string(*item);
    }
    options.look.loaded.reset();  // leave the viewer as the only owner; it may replace the model by another
  }
  if (!options.html.empty() || !options.site.empty()) return write_page(options, std::move(traces));
  serve(options, std::move(traces));
}

}  // namespace

void add_view(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("view", "Show every head on a text, in the browser or as one page that works offline");
  command->footer(
      "Examples:\n"
      "  clearhead view MODEL \"The cat sat on the mat.\"        opens the browser\n"
      "  clearhead view MODEL --file book.txt --html book.html  one page, no network, 20 MB (--page-size 60MB for more)\n"
      "  clearhead view MODEL --file book.txt --site book/      a folder for a web server, 200 MB, loaded as it is needed\n"
      "  clearhead view prompt.trace --head L5.H3 --query 1204\n"
      "  clearhead view A.trace B.trace --html both.html        several traces in one page, to choose from\n"
      "  clearhead view RUN/watch                               how heads developed, step by step (train --watch)");
  options->look.add(*command);
  command->add_option("traces", options->traces, "More traces, to choose from in the page")->type_name("FILE");
  command->add_option("--port", options->port, "Port of the server on 127.0.0.1 (default: any free one)")->check(whole_from(1, 65535));
  command->add_flag("--no-browser", options->no_browser, "Print the address, and do not open a browser");
  CLI::Option* html =
      command->add_option("--html", options->html, "Write a page that works offline to this file, instead of serving the viewer");
  html->type_name("FILE");
  command
      ->add_option("--site", options->site,
                   "Write the page and its data to this new folder, for a web server. A browser loads\n"
                   "only the data that it shows, so that long texts open at once")
      ->type_name("FOLDER")
      ->excludes(html);
  command->add_flag("--with-model", options->with_model,
                    "With --html or --site, put the model and an engine into the page: it then reads other texts, explains\n"
                    "answers and tries changes without a server. Whoever gets the page gets the model's weights");
  command->add_option("--page-size", options->page_size, "Largest size of the page (default: 20MB), or of the site (default: 200MB)")
      ->type_name("SIZE");
  command->add_option("--state", options->state,
                      "What to show first, as in the page's address after #: v=map&h=5.3\n"
                      "(default: the head and the word with the largest weight on another word)");
  command->add_option("--head", options->head, "Show this head first, like L5.H3");
  command->add_option("--query", options->query,
                      "Show this token first: its index (1204), a range of tokens (#12:20), or a piece of the text");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
