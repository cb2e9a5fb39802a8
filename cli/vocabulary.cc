// clearhead vocabulary KIND FILE… -o FOLDER: trains a tokenizer on texts.
#include <deque>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/format.h"
#include "base/own_file.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "text/train_vocabulary.h"

namespace clearhead::cli {
namespace {

struct Options {
  std::string kind, out;
  std::vector<std::string> files, special;
  VocabularyOptions training{};
  bool json = false;
};

// Texts to train on. Regular files are memory-mapped, so a large file is not copied to memory; others (pipes) are read whole.
struct Texts {
  std::vector<std::shared_ptr<MappedFile>> mapped{};
  std::deque<std::string> read{};
  std::vector<std::string_view> views{};
  explicit Texts(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
      std::error_code problem;
      if (std::filesystem::is_regular_file(file, problem)) {
        mapped.push_back(MappedFile::open(file));
        views.push_back(utf8_text(mapped.back()->bytes(), file));
      } else {
        views.push_back(read.emplace_back(read_text_file(file)));
      }
    }
  }
};

void run(const Options& options) {
  VocabularyOptions training = options.training;
  training.kind = options.kind == "bpe" ? VocabularyKind::kByteBpe : VocabularyKind::kWordPiece;
  training.special = options.special;
  if (training.special.empty() && training.kind == VocabularyKind::kWordPiece) training.special = bert_special_tokens();
  make_folder(options.out);
  const std::string path = (std::filesystem::path(options.out) / "tokenizer.json").string();
  check_writable(without_link(path));
  const Texts texts(options.files);
  std::optional<Progress> progress("learning");
  const TrainedVocabulary trained = train_vocabulary(texts.views, training, progress->callback());
  progress.reset();
  write_file(without_link(path), trained.tokenizer_json);
  if (trained.tokens < training.size) {
    notice(format("the vocabulary has {} of {} tokens: no other pair of adjacent tokens occurs at least {} times in the text",
                  with_commas(trained.tokens), with_commas(training.size), training.minimum_count));
  }
  if (options.json) {
    print_json(
        Json::object({{"tokens", trained.tokens}, {"words", trained.words}, {"different_words", trained.different_words}, {"file", path}}));
  } else {
    print(format("{} tokens from {} words ({} different), in {}", with_commas(trained.tokens), with_commas(trained.words),
                 with_commas(trained.different_words), path));
  }
}

}  // namespace

void add_vocabulary(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("vocabulary", "Train a tokenizer on texts");
  command->footer(
      "Examples:\n"
      "  clearhead vocabulary bpe books/*.txt --size 8000 --special \"<|endoftext|>\" -o my-tokenizer\n"
      "  clearhead tokens my-tokenizer \"The cat sat.\"\n"
      "bpe: byte-level, words split as in GPT-2. wordpiece: lower case, words split as in BERT.\n"
      "tokenizer.json is in the format of the tokenizers package.");
  command->add_option("kind", options->kind, "bpe (byte-level, as in GPT-2) or wordpiece (as in BERT)")
      ->required()
      ->check(CLI::IsMember({"bpe", "wordpiece"}));
  command->add_option("files", options->files, "Text files to train on; - is standard input")->required()->type_name("FILE");
  command->add_option("-o,--out", options->out, "Folder to write tokenizer.json to")->required()->type_name("DIR");
  command->add_option("--size", options->training.size, "Number of tokens in the vocabulary (default: 4096)")
      ->check(whole_from(1, (1 << 24) - 1));
  command->add_option("--special", options->special, "A special token (repeatable; default: none for bpe, BERT's five for wordpiece)");
  command->add_option("--minimum-count", options->training.minimum_count, "Merge only pairs that occur at least this often (default: 2)")
      ->check(whole_from(1));
  command
      ->add_option("--alphabet", options->training.alphabet,
                   "wordpiece: keep only this many characters, the most frequent ones (default: 1000)")
      ->check(whole_from(1));
  command->add_flag("--json", options->json, "Print JSON: {\"tokens\", \"words\", \"different_words\", \"file\"}");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
