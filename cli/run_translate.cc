// clearhead run translate MODEL TEXT: what an encoder-decoder writes from a text, line by line; and which words it looked at for each.
#include <algorithm>

#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

struct Options {
  std::string model, weights = "f32";
  TextArguments text;
  std::optional<int64_t> beams{};
  std::optional<double> length_penalty{};
  int64_t max_tokens = 256;
  bool json = false;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (!lines.back().empty() && lines.back().back() == '\r') lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

// Whatever a model writes, a line stays one.
std::string as_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

Json json_of(const std::string& source, const Generated& made) {
  Json ids = Json::array(), probabilities = Json::array();
  for (const GeneratedToken& token : made.tokens) {
    ids.push(static_cast<int64_t>(token.id));
    probabilities.push(token.probability);
  }
  return Json::object({{"source", source},
                       {"text", made.text},
                       {"tokens", ids},
                       {"probabilities", probabilities},
                       {"score", made.score},
                       {"stopped", to_string(made.reason)}});
}

// The lines that hold words, encoded; a line that is too long is named.
std::vector<Encoding> encoded(const Model& model, const std::vector<std::string>& lines, std::vector<size_t>& of_line) {
  std::vector<Encoding> sources;
  for (size_t line = 0; line < lines.size(); ++line) {
    Encoding encoding = model.tokenizer().encode(lines[line]);
    const auto is_word = [&](size_t token) { return !encoding.is_special(token); };
    size_t words = 0;
    for (size_t token = 0; token < encoding.size(); ++token) words += is_word(token);
    if (words == 0) continue;
    const int64_t longest = model.info().longest, tokens = static_cast<int64_t>(encoding.size());
    if (longest > 0 && tokens > longest) {
      fail(ErrorCode::kTooLong, "line {} has {} tokens; this model's positions end at {}. Give it one sentence a line.", line + 1,
           with_commas(tokens), with_commas(longest));
    }
    of_line.push_back(line);
    sources.push_back(std::move(encoding));
  }
  return sources;
}

void translate(const Options& options) {
  if (!options.text.given()) usage_error("give a text, --file, or - for standard input");
  const auto model = load_model(options.model, options.weights == "bf16"   ? WeightStorage::kBF16
                                               : options.weights == "int8" ? WeightStorage::kInt8
                                                                           : WeightStorage::kF32);
  const std::vector<std::string> lines = lines_of(options.text.read());
  GenerateOptions settings{.max_tokens = options.max_tokens, .beams = default_beams(*model, {.count = 4})};
  if (options.beams) settings.beams.count = *options.beams;
  if (options.length_penalty) settings.beams.length_penalty = *options.length_penalty;
  Progress progress("translating");
  settings.progress = progress.callback();
  std::vector<size_t> of_line;
  const std::vector<Encoding> sources = encoded(*model, lines, of_line);
  const std::vector<Generated> made = generate_from(*model, sources, settings);
  std::vector<Generated> by_line(lines.size());
  for (size_t at = 0; at < made.size(); ++at) by_line[of_line[at]] = made[at];
  Json translations = Json::array();
  for (size_t line = 0; line < lines.size(); ++line) {
    if (options.json) {
      translations.push(json_of(lines[line], by_line[line]));
    } else {
      print(as_line(by_line[line].text));
    }
  }
  if (options.json) print_json(Json::object({{"translations", translations}}));
}

}  // namespace

void add_run_translate(CLI::App& run) {
  auto options = std::make_shared<Options>();
  CLI::App* task = run.add_subcommand("translate", "What an encoder-decoder writes from each line of a text");
  task->add_option("model", options->model, "An encoder-decoder (directory, or name in the local cache)")->required();
  options->text.add(*task);
  task->add_option("--beams", options->beams,
                   "Texts searched at once (else as the model's files say, else 4); 1: always the most probable token")
      ->check(whole_from(1, 1000));
  task->add_option("--length-penalty", options->length_penalty,
                   "A text is rated by its log-probability over length^penalty (else as the model's files say, else 1)");
  task->add_option("--max-tokens", options->max_tokens, "At most so many tokens a line")->check(whole_from(1));
  task->add_option("--weights", options->weights, "Keep linear layers as: f32 (default), bf16, int8 (fewer bytes, rounded weights)")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}));
  task->add_flag("--json", options->json, "The translations as JSON, with tokens and ratings");
  task->callback([options] { translate(*options); });
}

}  // namespace clearhead::cli
