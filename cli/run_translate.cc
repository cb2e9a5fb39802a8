// clearhead run translate MODEL TEXT: translates a text line by line with an encoder-decoder; --align shows which source words
// each word attends to.
#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/alignment.h"
#include "cli/cli.h"
#include "cli/written.h"
#include "generate/trace_of.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

struct Options : WriteArguments {
  TextArguments text;
  std::string head;
  bool align = false;
};

// The lines to translate, and errors for the lines that cannot be: too long, or without the tokens that an intervention names.
// Lines without words have no translation and no error.
struct Sources {
  std::vector<Encoding> encodings{};
  std::vector<size_t> of_line{};      // the line of each encoding
  std::map<size_t, Error> refused{};  // key: the line
};

Sources encoded(const Model& model, const std::vector<std::string>& lines, const GenerateOptions& settings) {
  Sources out;
  const auto refuse = [&](size_t line, ErrorCode code, const std::string& why) {
    out.refused.emplace(line, Error(code, format("line {}{}", line + 1, why)));
  };
  for (size_t line = 0; line < lines.size(); ++line) {
    Encoding encoding = model.tokenizer().encode(lines[line]);
    size_t words = 0;
    for (size_t token = 0; token < encoding.size(); ++token) words += !encoding.is_special(token);
    if (words == 0) continue;
    const int64_t longest = model.info().longest, tokens = static_cast<int64_t>(encoding.size());
    if (longest > 0 && tokens > longest) {
      refuse(line, ErrorCode::kTooLong,
             format(" has {} tokens; this model's positions end at {}. Give it one sentence a line.", with_commas(tokens),
                    with_commas(longest)));
      continue;
    }
    try {
      check_places_of(settings, tokens);
    } catch (const Error& error) {
      refuse(line, error.code(), format(": {}", error.what()));
      continue;
    }
    out.of_line.push_back(line);
    out.encodings.push_back(std::move(encoding));
  }
  return out;
}

void translate(const Options& options) {
  if (!options.text.given()) usage_error("give a text, --file, or - for standard input");
  const auto model = load_model(options.model, options.load);
  const std::vector<std::string> lines = lines_of(options.text.read());
  if (!options.trace.empty()) {
    if (lines.size() != 1) usage_error(format("--trace stores the run of one line, but {} were given", lines.size()));
    check_writable(options.trace);
  }
  GenerateOptions settings = options.settings(*model);
  Progress progress("translating");
  settings.progress = progress.callback();
  const Sources sources = encoded(*model, lines, settings);
  if (sources.encodings.empty() && !sources.refused.empty()) throw Error(sources.refused.begin()->second);
  const bool looks = options.align || !options.trace.empty();
  std::vector<Generated> made;
  if (!looks) made = generate_from(*model, sources.encodings, settings);
  Json translations = Json::array();
  for (size_t line = 0, at = 0; line < lines.size(); ++line) {
    Generated written;
    std::optional<Trace> trace;
    const auto refused = sources.refused.find(line);
    if (refused != sources.refused.end()) notice(refused->second.what());
    if (at < sources.of_line.size() && sources.of_line[at] == line) {
      if (looks) {
        TracedInput traced = trace_writing(*model, {.input = {.text = lines[line]}}, sources.encodings[at], settings);
        written = std::move(*traced.written);
        if (!written.ids.empty()) trace = std::move(traced.trace);
      } else {
        written = std::move(made[at]);
      }
      ++at;
    }
    if (options.json) {
      Json item = Json::object({{"source", lines[line]}});
      if (refused != sources.refused.end()) {
        item["error"] = refused->second.what();
        translations.push(std::move(item));
        continue;
      }
      add_written(item, written);
      if (options.align) item["alignment"] = trace ? alignment_json(alignment_of(*trace, options.head)) : Json::array();
      translations.push(std::move(item));
    } else {
      print_whole(as_line(written.text) + "\n");
      if (options.align && trace) print_alignment(alignment_of(*trace, options.head));
    }
    if (!options.trace.empty() && trace) trace->save(options.trace);
  }
  if (!options.trace.empty() && !options.json) notice(format("trace: {}; look: clearhead view {}", options.trace, options.trace));
  if (options.json) print_json(Json::object({{"translations", translations}}));
  if (const size_t count = sources.refused.size(); count > 0)
    fail(ErrorCode::kInvalidArgument, "{} of {} lines {} no translation", count, lines.size(), count == 1 ? "has" : "have");
}

}  // namespace

Trace print_translation(const Model& model, const std::string& line) {
  TracedInput traced = trace_of(model, {.input = {.text = line}});
  print(format("  {}\n  → {}", as_line(line), as_line(traced.written->text)));
  print_alignment(alignment_of(traced.trace, ""));
  return std::move(traced.trace);
}

void add_run_translate(CLI::App& run) {
  auto options = std::make_shared<Options>();
  CLI::App* task = run.add_subcommand("translate", "Translate each line of a text with an encoder-decoder");
  options->add(*task, "per line");
  options->text.add(*task);
  CLI::Option* align = task->add_flag("--align", options->align, "Draw which source words each word attends to");
  task->add_option("--head", options->head,
                   "With --align: use this head of cross-attention, like L2.H0 (default: the mean of the last\nlayer's heads)")
      ->needs(align);
  task->add_option("--trace", options->trace, "Write the attention to this trace file (for one line)")->type_name("FILE");
  task->add_flag("--json", options->json, "Print the translations as JSON, with tokens and scores");
  task->callback([options] { translate(*options); });
}

}  // namespace clearhead::cli
