// clearhead run translate MODEL TEXT: translates a text line by line with an encoder-decoder; --align shows which source words
// each word attends to.
#include <map>

#include "base/file.h"
#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/alignment.h"
#include "cli/input.h"
#include "cli/run_command.h"
#include "cli/written.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

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
             format(" has {} tokens, but this model supports {} positions. Give it one sentence per line.", with_commas(tokens),
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

void run(const AlignedArguments& options) {
  if (!options.text.given()) usage_error("give a text, --file, or - for standard input");
  const auto model = load_model(options.model, options.load);
  const std::vector<std::string> lines = lines_of(options.text.read());
  if (!options.trace.empty()) {
    if (lines.size() != 1) usage_error(format("--trace stores the attention for a single line, but {} lines were given", lines.size()));
    check_writable(options.trace);
  }
  GenerateOptions settings = options.settings(*model);
  Progress progress("translating");
  settings.progress = progress.callback();
  const Sources sources = encoded(*model, lines, settings);
  if (sources.encodings.empty() && !sources.refused.empty()) throw Error(sources.refused.begin()->second);
  std::vector<Generated> made;
  if (!options.needs_traces()) made = generate_from(*model, sources.encodings, settings);
  Json translations = Json::array();
  for (size_t line = 0, at = 0; line < lines.size(); ++line) {
    if (const auto refused = sources.refused.find(line); refused != sources.refused.end()) {
      notice(refused->second.what());
      options.json ? translations.push(Json::object({{"source", lines[line]}, {"error", refused->second.what()}})) : print_whole("\n");
      continue;
    }
    Written written;  // of a line without words: empty
    if (at < sources.of_line.size() && sources.of_line[at] == line) {
      written = options.needs_traces() ? options.write(*model, lines[line], sources.encodings[at], settings) : Written{std::move(made[at])};
      ++at;
    }
    options.json ? translations.push(options.json_of(lines[line], written)) : options.print_answer(written);
    options.save_trace(written);
  }
  if (options.json) print_json(Json::object({{"translations", translations}}));
  if (const size_t count = sources.refused.size(); count > 0)
    fail(ErrorCode::kInvalidArgument, "{} of {} lines {} no translation", count, lines.size(), count == 1 ? "has" : "have");
}

void add(CLI::App& app) {
  const auto options = std::make_shared<AlignedArguments>();
  options->add(app, "per line");
  app.add_option("--trace", options->trace, "Write the attention to this trace file (for one line)")->type_name("FILE");
  app.add_flag("--json", options->json, "Print the translations as JSON, with tokens and scores");
  app.callback([options] { run(*options); });
}

std::string answer_example(const Model&, const ModelInput&, const TracedInput& traced) { return as_line(traced.written->text); }

}  // namespace

const RunCommand& translate_command() {
  static const RunCommand command = {.name = "translate",
                                     .description = "Translate each line of a text with an encoder-decoder",
                                     .is_task_of = writes_from_text,
                                     .add = add,
                                     .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
