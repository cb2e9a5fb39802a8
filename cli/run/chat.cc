// clearhead run chat MODEL: an encoder-decoder answers turn by turn. The source of each answer is the last turns
// of the dialogue, the model's own included, as in training.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "base/file.h"
#include "base/format.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "clearhead/tokenizer.h"
#include "cli/dialogue.h"
#include "cli/input.h"
#include "cli/run_command.h"
#include "cli/terminal.h"
#include "cli/written.h"
#include "generate/trace_of.h"
#include "text/turns.h"

namespace clearhead::cli {
namespace {

struct Options : WriteArguments {
  std::string text, file, choose;
  std::optional<int64_t> turns{};
};

struct Candidates {
  std::vector<std::string> texts{};
  std::vector<Encoding> encodings{};
  std::vector<double> priors{};
};
Candidates candidates_of(const std::string& path, const Model& model, const Interventions& interventions) {
  Candidates out;
  for (const std::string& line : lines_of(read_text_file(path))) {
    if (line.empty()) continue;
    out.texts.push_back(line);
    out.encodings.push_back(model.tokenizer().encode(line));
  }
  if (out.texts.empty()) fail(ErrorCode::kInvalidArgument, "{}: contains no line to choose from", path);
  out.priors = priors_of(model, out.encodings, {.interventions = interventions, .name = [&](size_t index) { return out.texts[index]; }});
  return out;
}

// A dialogue in progress.
class Chat {
 public:
  Chat(const Model& model, const Options& options)
      : model_(model),
        options_(options),
        settings_(options.settings(model)),
        before_(options.turns ? options.turns : turns_before(model.info())) {
    if (!before_) {
      fail(ErrorCode::kUnsupported,
           "{}: generation_config.json has no \"turns_before\", the number of turns that the model reads, so it was not trained on "
           "dialogues; --turns sets the number",
           model.info().name);
    }
    if (!options.choose.empty()) candidates_ = candidates_of(options.choose, model, settings_.run.interventions);
  }

  void begin_anew() { turns_.clear(); }
  /// True if an answer was written to the trace file.
  bool saved_trace() const { return saved_trace_; }

  /// Prints the answer to a turn, and appends both to the dialogue.
  void answer(const std::string& turn) {
    turns_.push_back(as_line(turn));
    const ReadTurns read = encoded_turns(model_, joined_turns(turns_, turns_.size(), *before_));
    check_places_of(settings_, static_cast<int64_t>(read.encoding.size()));
    Json line = Json::object({{"turns", Json::array()}});
    for (const std::string& before : lines_of(read.text)) line["turns"].push(before);
    const std::string said = options_.choose.empty() ? written(read, line) : chosen(read, line);
    options_.json ? print_json(line) : print_whole((::isatty(STDOUT_FILENO) ? escaped(said) : said) + "\n");
    turns_.push_back(said);
  }

 private:
  std::string written(const ReadTurns& read, Json& line) {
    Generated made;
    if (options_.trace.empty()) {
      made = generate_from(model_, {read.encoding}, settings_)[0];
    } else {
      TracedInput traced = trace_writing(model_, {.input = {.text = read.text}}, read.encoding, settings_);
      made = std::move(*traced.written);
      if (!made.ids.empty()) {
        traced.trace.set_segments(turns_of(read, traced.trace.plan().text));
        traced.trace.save(options_.trace);
        saved_trace_ = true;
      }
    }
    add_written(line, made);
    return as_line(made.text);
  }

  std::string chosen(const ReadTurns& read, Json& line) {
    const std::vector<double> ratings =
        ratings_of(model_, std::vector<Encoding>(candidates_.texts.size(), read.encoding), candidates_.encodings, candidates_.priors,
                   {.interventions = settings_.run.interventions, .name = [&](size_t index) { return candidates_.texts[index]; }});
    std::vector<size_t> order(ratings.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ratings[a] > ratings[b]; });
    line["text"] = candidates_.texts[order[0]];
    line["candidates"] = Json::array();
    for (const size_t at : order) line["candidates"].push(Json::object({{"text", candidates_.texts[at]}, {"rating", ratings[at]}}));
    return candidates_.texts[order[0]];
  }

  // One segment for each turn of the source, named by its number in the dialogue, and one for the answer. A line break belongs to
  // the turn that it ends.
  std::vector<TextSegment> turns_of(const ReadTurns& read, const RunText& text) const {
    const size_t count = read.text.empty() && *before_ == 0 ? 0 : lines_of(read.text + "\n").size();
    std::vector<TextSegment> out(count);
    for (size_t at = 0; at < count; ++at) out[at] = {format("turn {}", turns_.size() - count + at + 1), "turn", -1, -1};
    for (int64_t token = 0; token < static_cast<int64_t>(read.encoding.size()) && count > 0; ++token) {
      if (read.encoding.is_special(static_cast<size_t>(token))) continue;
      const auto begin = read.encoding.offsets[static_cast<size_t>(token)][0];
      TextSegment& turn = out[static_cast<size_t>(std::count(read.text.begin(), read.text.begin() + begin, '\n'))];
      if (turn.begin < 0) turn.begin = token;
      turn.end = token + 1;
    }
    std::erase_if(out, [](const TextSegment& turn) { return turn.begin < 0; });
    const auto source = static_cast<int64_t>(read.encoding.size());
    out.push_back({format("turn {}", turns_.size() + 1), "turn", source, static_cast<int64_t>(text.ids.size())});
    return out;
  }

  const Model& model_;
  const Options& options_;
  GenerateOptions settings_;
  std::optional<int64_t> before_{};
  Candidates candidates_{};
  std::vector<std::string> turns_{};
  bool saved_trace_ = false;
};

void run(const Options& options) {
  if (!options.trace.empty()) check_writable(options.trace);
  const bool reads_input = options.text.empty() && (options.file.empty() || options.file == "-");
  TextLines lines = options.text.empty() ? TextLines(reads_input ? "-" : options.file) : TextLines("the text", options.text);
  const auto model = load_model(options.model, options.load);
  Chat chat(*model, options);
  const bool asks = reads_input && ::isatty(STDIN_FILENO) && ::isatty(STDOUT_FILENO);
  if (asks) notice("Type a message; an empty line starts a new dialogue, Ctrl-D quits.");
  const auto next = [&](std::string& line) {
    if (asks) std::fputs("> ", stdout), std::fflush(stdout);
    return lines.next(line);
  };
  for (std::string line; next(line);) {
    try {
      as_line(line).empty() ? chat.begin_anew() : chat.answer(line);
    } catch (const Error& error) {
      throw Error(error.code(), format("line {}: {}", lines.number(), error.what()));
    }
  }
  if (asks) print("");
  if (!options.trace.empty() && (!options.json || !chat.saved_trace())) notice_trace(options.trace, chat.saved_trace());
}

void add(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.footer(
      "One turn per line, from the terminal, --file or a pipe; an empty line starts a new dialogue, Ctrl-D quits.\n"
      "Example: clearhead run chat MODEL --trace chat.trace, then clearhead view chat.trace");
  options->add(app, "per answer");
  CLI::Option* text = app.add_option("text", options->text,
                                     "The first turn of a dialogue, to answer (default: read turns from the terminal, one per line)");
  app.add_option("--file,-f", options->file, "Read the turns from this file; - is standard input")->type_name("FILE")->excludes(text);
  app.add_option("--turns", options->turns, "Number of turns that the model reads for each answer (default: as in training)")
      ->check(whole_from(0));
  CLI::Option* choose = app.add_option("--choose", options->choose, "Answer with the line of this file that the model rates best");
  choose->type_name("FILE");
  app.add_option("--trace", options->trace, "Write the attention of the last answer to this trace file, with the turns as segments")
      ->type_name("FILE")
      ->excludes(choose);
  app.add_flag("--json", options->json, "Print answers as JSON, one per line, with the turns that were read");
  app.callback([options] { run(*options); });
}

}  // namespace

const RunCommand& chat_command() {
  static const RunCommand command = {
      .name = "chat",
      .description = "Talk with an encoder-decoder that was trained on dialogues",
      .is_task_of = [](const ModelInfo& info) { return writes_from_text(info) && turns_before(info).has_value(); },
      .specificity = 4,
      .add = add};
  return command;
}

}  // namespace clearhead::cli
