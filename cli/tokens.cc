// clearhead tokens MODEL TEXT: how a text becomes tokens.
#include <iostream>

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "models/find_model.h"

namespace clearhead::cli {
namespace {

Json to_json(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, bool special) {
  EncodeOptions options;
  options.add_special_tokens = special;
  if (!pair.empty()) options.pair = pair;
  const Encoding encoding = tokenizer.encode(text, options);
  Json json = Json::object({{"ids", Json::array()}, {"tokens", Json::array()}, {"offsets", Json::array()}});
  for (size_t i = 0; i < encoding.size(); ++i) {
    json["ids"].push(static_cast<int64_t>(encoding.ids[i]));
    json["tokens"].push(tokenizer.token(encoding.ids[i]));
    json["offsets"].push(Json::Array{encoding.offsets[i][0], encoding.offsets[i][1]});
  }
  return json;
}

void print_table(const Json& json, const std::string& text) {
  const auto& ids = json.find("ids")->items();
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto& range = json.find("offsets")->items()[i].items();
    const size_t begin = static_cast<size_t>(range[0].integer()), end = static_cast<size_t>(range[1].integer());
    print(format("{:>6}  {:>7}  {:>6}-{:<6}  {:<20}  {}", i, ids[i].integer(), begin, end, json.find("tokens")->items()[i].string(),
                 Json(text.substr(begin, end - begin)).dump()));
  }
}

}  // namespace

void add_tokens(CLI::App& app) {
  struct Options {
    std::string model, text, file, pair;
    bool json = false, plain = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("tokens", "How a text becomes tokens");
  command->footer(
      "Example: clearhead tokens MODEL \"The cat sat.\" --json\n- reads lines from standard input and prints one object a line.");
  command->add_option("model", options->model, "A model, or a folder with tokenizer files only")->required();
  command->add_option("text", options->text, "The text; - reads lines from standard input");
  command->add_option("--file,-f", options->file, "Read the text from a file");
  command->add_option("--pair", options->pair, "A second text");
  command->add_flag("--no-special", options->plain, "Without the tokens the model adds around a text");
  command->add_flag("--json", options->json, "{\"ids\", \"tokens\", \"offsets\": [[begin, end] in bytes]}");
  command->callback([options] {
    const auto tokenizer = Tokenizer::load(model_directory(options->model));
    if (options->text == "-" && options->file.empty()) {
      std::string line;
      while (std::getline(std::cin, line)) print_json(to_json(*tokenizer, line, options->pair, !options->plain));
      return;
    }
    if (options->text.empty() == options->file.empty()) usage_error("give the text, --file, or - for standard input");
    const std::string text = TextArguments{options->text, options->file}.read();
    const Json json = to_json(*tokenizer, text, options->pair, !options->plain);
    if (options->json) {
      print_json(json);
    } else {
      print_table(json, text);
    }
  });
}

}  // namespace clearhead::cli
