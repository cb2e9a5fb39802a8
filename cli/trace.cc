// clearhead trace MODEL TEXT -o FILE: runs a model once and stores what is needed to inspect every weight later.
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "cli/cli.h"

namespace clearhead::cli {

void add_trace(CLI::App& app) {
  struct Options {
    TraceArguments look;
    std::string out;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("trace", "Run a model on a text and store what is needed to inspect every weight later");
  command->footer(
      "Example: clearhead trace MODEL --file prompt.txt -o prompt.trace\nview, show, ask and atlas accept the trace instead of a model.");
  options->look.add(*command);
  command->add_option("-o,--out", options->out, "Trace file to write")->required()->type_name("FILE");
  command->add_flag("--statistics", options->look.statistics_in_run,
                    "Compute the statistics for clearhead atlas during this run and store them");
  command->add_flag("--json", options->json, "Print a summary of what was kept, in JSON");
  command->callback([options] {
    check_writable(options->out);
    const Trace trace = options->look.trace();
    trace.save(options->out);
    const std::string family = trace.main_family();
    const std::vector<int> layers = trace.layers(family);
    std::error_code ignored;
    const bool is_file = std::filesystem::is_regular_file(options->out, ignored);
    const uint64_t bytes = is_file ? std::filesystem::file_size(options->out) : 0;
    const int64_t tokens = static_cast<int64_t>(trace.plan().text.ids.size());
    const int64_t queries = trace.family(family).queries;  // fewer than tokens if the family covers a section of the text
    int64_t rows = 0;
    if (!layers.empty()) {
      for (const Range& range : trace.map(family, layers[0]).rows_kept()) rows += range.size();
    }
    if (options->json) {
      Json kept = Json::array();
      for (const int layer : layers) kept.push(layer);
      print_json(Json::object(
          {{"trace", options->out}, {"id", trace.id()}, {"bytes", bytes}, {"tokens", tokens}, {"layers", kept}, {"rows", rows}}));
      return;
    }
    print(format("{}: {} tokens, {} layers, {}", options->out, with_commas(tokens), layers.size(), human_bytes(bytes)));
    if (rows < queries) {
      print(format("query vectors kept: {} of {} rows; for others, trace again with --rows BEGIN:END or a larger --budget",
                   with_commas(rows), with_commas(queries)));
    }
    print(format("to view it: clearhead view {}", options->out));
  });
}

}  // namespace clearhead::cli
