// clearhead tokens MODEL TEXT: prints the tokens of a text.
#include <cstdio>
#include <unordered_map>

#include "base/format.h"
#include "base/text_file.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "models/find_model.h"
#include "text/encode_parts.h"

namespace clearhead::cli {
namespace {

Encoding encode(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, bool special) {
  EncodeOptions options;
  options.add_special_tokens = special;
  if (!pair.empty()) options.pair = pair;
  return tokenizer.encode(text, options);
}

// Prints {"ids", "tokens", "offsets"} on one line, incrementally: to save memory, a long text is encoded in chunks, once for each
// of the three lists.
void print_tokens_json(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, bool special) {
  const bool is_long = pair.empty() && text.size() > size_t{1} << 20;
  const Encoding whole = is_long ? Encoding{} : encode(tokenizer, text, pair, special);
  const auto list = [&](const char* opening, const auto& item) {
    std::fputs(opening, stdout);
    bool is_first = true;
    const auto put = [&](const Encoding& encoding) {
      std::string out;
      for (size_t i = 0; i < encoding.size(); ++i, is_first = false) {
        if (!is_first) out += ',';
        item(encoding, i, out);
      }
      std::fwrite(out.data(), 1, out.size(), stdout);
    };
    if (!is_long) return put(whole);
    text::encode_parts(tokenizer, text, special, put);
  };
  list("{\"ids\":[", [](const Encoding& from, size_t i, std::string& out) { out += std::to_string(from.ids[i]); });
  std::unordered_map<int32_t, std::string> spelled;  // cache: a long text repeats tokens many times
  list("],\"tokens\":[", [&](const Encoding& from, size_t i, std::string& out) {
    std::string& known = spelled[from.ids[i]];
    if (known.empty()) known = Json(tokenizer.token(from.ids[i])).dump();
    out += known;
  });
  list("],\"offsets\":[", [](const Encoding& from, size_t i, std::string& out) {
    out += '[' + std::to_string(from.offsets[i][0]) + ',' + std::to_string(from.offsets[i][1]) + ']';
  });
  std::fputs("]}\n", stdout);
}

void print_table(const Tokenizer& tokenizer, const Encoding& encoding, const std::string& text, const std::string& pair, size_t first) {
  for (size_t i = 0; i < encoding.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    const std::string& from = encoding.segment[i] == 1 ? pair : text;
    const std::string bytes = from.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    print(format("{:>6}  {:>7}  {:>13}  {}  {}", first + i, encoding.ids[i], format("{}:{}", begin, end),
                 fit(visible(tokenizer.token(encoding.ids[i])), 20), encoding.is_special(i) ? "" : Json(bytes).dump()));
  }
}

}  // namespace

void add_tokens(CLI::App& app) {
  struct Options {
    std::string model, pair;
    TextArguments text;
    bool json = false, plain = false, lines = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("tokens", "Print the tokens of a text");
  command->footer(
      "Examples:\n"
      "  clearhead tokens MODEL \"The cat sat.\" --json\n"
      "  clearhead tokens MODEL - <lines.txt                   one JSON object per line of standard input\n"
      "Offsets are byte positions in the text.");
  command->add_option("model", options->model, "A model, or a directory with only tokenizer files")->required();
  options->text.add(*command);
  command->add_option("--pair", options->pair, "A second text, encoded as a pair with the first");
  command->add_flag("--no-special", options->plain, "Leave out the special tokens that the model adds around a text");
  command->add_flag("--lines", options->lines, "Print one JSON object for each line of --file, as for standard input");
  command->add_flag("--json", options->json, "Print JSON: {\"ids\", \"tokens\", \"offsets\": [[begin, end] in bytes]}");
  command->callback([options] {
    const auto tokenizer = Tokenizer::load(model_directory(options->model));
    const bool is_piped = options->text.is_standard_input() && (options->lines || options->text.text == "-");
    if (is_piped || (options->lines && !options->text.file.empty())) {
      TextLines lines(is_piped ? "-" : options->text.file);
      for (std::string line; lines.next(line);) print_tokens_json(*tokenizer, line, options->pair, !options->plain);
      return;
    }
    if (options->lines) usage_error("--lines reads the lines of --file, or of standard input");
    if (!options->text.given()) usage_error("give a text, --file, or - for the lines of standard input");
    const std::string text = options->text.read();
    if (options->json) return print_tokens_json(*tokenizer, text, options->pair, !options->plain);
    if (!options->pair.empty())
      return print_table(*tokenizer, encode(*tokenizer, text, options->pair, !options->plain), text, options->pair, 0);
    size_t first = 0;
    text::encode_parts(*tokenizer, text, !options->plain, [&](const Encoding& part) {
      print_table(*tokenizer, part, text, {}, first);
      first += part.size();
    });
  });
}

}  // namespace clearhead::cli
