// clearhead bleu HYPOTHESES REFERENCES: corpus BLEU of translations against one reference each, one sentence per line.
#include <algorithm>

#include "base/format.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "text/bleu.h"

namespace clearhead::cli {
namespace {

std::vector<std::string> sentences_of(const std::string& path) { return lines_of(read_text_file(path)); }

void run(const std::string& hypotheses_path, const std::string& references_path, const std::string& tokenize, bool json) {
  const BleuWords words = *bleu_words_named(tokenize);
  const std::vector<std::string> hypotheses = sentences_of(hypotheses_path), references = sentences_of(references_path);
  if (hypotheses.size() != references.size()) {
    fail(ErrorCode::kInvalidArgument, "{} has {} lines, {} has {}; expected a sentence and its reference on the same line of both",
         hypotheses_path, hypotheses.size(), references_path, references.size());
  }
  if (hypotheses.empty())
    fail(ErrorCode::kInvalidArgument, "{} and {} are empty: there is nothing to compare", hypotheses_path, references_path);
  warn_of_words(references, words, "--tokenize zh or --tokenize char");
  const Bleu found = bleu(hypotheses, references, words);
  const std::string signature = format("{}|version:clearhead-{}", bleu_signature(words), CLEARHEAD_VERSION);
  const auto list = [](const auto& values) { return Json(Json::Array(values.begin(), values.end())); };
  if (json) {
    return print_json(Json::object({{"score", found.score},
                                    {"signature", signature},
                                    {"precisions", list(found.precisions)},
                                    {"brevity_penalty", found.brevity_penalty},
                                    {"matched", list(found.matched)},
                                    {"total", list(found.total)},
                                    {"hypothesis_length", found.hypothesis_length},
                                    {"reference_length", found.reference_length}}));
  }
  const std::array<double, 4>& p = found.precisions;
  const double ratio =
      found.reference_length == 0 ? 0 : static_cast<double>(found.hypothesis_length) / static_cast<double>(found.reference_length);
  print(format("BLEU|{} = {:.2f} {:.1f}/{:.1f}/{:.1f}/{:.1f} (BP = {:.3f} ratio = {:.3f} hyp_len = {} ref_len = {})", signature,
               found.score, p[0], p[1], p[2], p[3], found.brevity_penalty, ratio, found.hypothesis_length, found.reference_length));
}

}  // namespace

void add_bleu(CLI::App& app) {
  struct Options {
    std::string hypotheses, references, tokenize = "13a";
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("bleu", "Score translations against a reference by BLEU, as sacrebleu does");
  command->footer(
      "Example: clearhead bleu translated.txt reference.txt\n"
      "Corpus BLEU as sacrebleu computes it: one reference, case-sensitive, exponential smoothing. Each line is a sentence.");
  command->add_option("hypotheses", options->hypotheses, "File of translations, one per line; - is standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("references", options->references, "File of reference translations, in the same order")
      ->required()
      ->type_name("FILE");
  command->add_option("--tokenize", options->tokenize, "Tokenization, by sacrebleu's names: 13a, zh (Chinese) or char (each character)")
      ->check(CLI::IsMember({"13a", "zh", "char"}))
      ->capture_default_str();
  command->add_flag("--json", options->json,
                    "Print JSON: score, signature, precisions, brevity penalty, matched and total n-grams,\nlengths");
  command->callback([options] { run(options->hypotheses, options->references, options->tokenize, options->json); });
}

}  // namespace clearhead::cli
