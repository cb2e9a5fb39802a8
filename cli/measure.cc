// Test scores of a model. Texts: bits per byte = nats / (ln 2 · bytes). The first token of each text is not predicted, and texts that are
// longer than the model supports are read in windows. Pairs: BLEU or ROUGE with beam search. Dialogues are in dialogue.cc, sounds
// in transcripts.cc.
#include "cli/measure.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/dialogue.h"
#include "cli/transcripts.h"
#include "metrics/rouge.h"
#include "models/encoded_input.h"
#include "tasks/data/pair_data.h"
#include "tasks/recipe/task_definition.h"
#include "text/bleu.h"
#include "text/scripts.h"
#include "train/trainable_model.h"

namespace clearhead::cli {
namespace {

// The sum of −log p over all tokens but the first. A text that is longer than the model supports is read in windows that overlap by
// half, so that after the first window each token is predicted from at least half a window.
double nats_of(const Model& model, const std::vector<int32_t>& ids) {
  const int64_t count = static_cast<int64_t>(ids.size()), longest = model.info().longest > 0 ? model.info().longest : count;
  const int64_t window = longest + 1, stride = std::max<int64_t>(1, longest / 2);  // the last token of a window is not an input
  double nats = 0;
  for (int64_t begin = 0, predicted = 1; predicted < count; begin += stride) {  // tokens [0, predicted) are done
    const int64_t end = std::min(begin + window, count);
    const std::vector<float> values = log_probabilities(model, {ids.begin() + begin, ids.begin() + end});
    for (; predicted < end; ++predicted) nats -= static_cast<double>(values[static_cast<size_t>(predicted - begin - 1)]);
  }
  return nats;
}

void measure_texts(const tasks::Recipe& recipe, const Model& model, bool json) {
  const std::vector<std::string> texts = tasks::read_part(recipe.source, tasks::Part::kTest);
  Json files = Json::object();
  double nats = 0;
  int64_t bytes = 0, tokens = 0;
  const int64_t longest = model.info().longest;
  bool windows = false;
  const auto bits = [](double of, int64_t over) { return bits_per_byte(of, static_cast<double>(over)); };
  for (size_t at = 0; at < texts.size(); ++at) {
    const Encoding encoding = model.tokenizer().encode(texts[at], {.add_special_tokens = false});
    if (encoding.size() < 2) continue;
    const double own = nats_of(model, encoding.ids);
    const int64_t predicted_bytes = static_cast<int64_t>(texts[at].size()) - encoding.offsets[0][1];  // all but the first token's
    files[recipe.source.files[at]] = bits(own, predicted_bytes);
    if (!json)
      print(format("{:.4f} bits per byte  {} ({} tokens)", bits(own, predicted_bytes), recipe.source.files[at],
                   with_commas(static_cast<int64_t>(encoding.size()))));
    nats += own;
    bytes += predicted_bytes;
    tokens += static_cast<int64_t>(encoding.size());
    windows = windows || (longest > 0 && static_cast<int64_t>(encoding.size()) > longest + 1);
  }
  if (bytes == 0) fail(ErrorCode::kInvalidArgument, "{}: \"splits\" leaves no test data", recipe.where);
  if (json) {
    Json line = Json::object({{"bits_per_byte", bits(nats, bytes)}, {"tokens", tokens}, {"files", files}});
    if (windows) line["window"] = longest;
    return print_json(line);
  }
  print(format("{:.4f} bits per byte  all files ({} tokens)", bits(nats, bytes), with_commas(tokens)));
  if (windows)
    print(format("longer texts were read in windows of {} tokens that overlap by half, as the model supports {} positions",
                 with_commas(longest), with_commas(longest)));
}

void print_rouge(const metrics::Rouge& mean, size_t pairs, const Beams& beams, bool json) {
  if (json) {
    return print_json(Json::object({{"rouge_1", mean.rouge1.f},
                                    {"rouge_2", mean.rouge2.f},
                                    {"rouge_l", mean.rouge_l.f},
                                    {"pairs", static_cast<int64_t>(pairs)},
                                    {"beams", beams.count},
                                    {"length_penalty", beams.length_penalty}}));
  }
  print(format("F1 of ROUGE-1 {:.2f}, ROUGE-2 {:.2f}, ROUGE-L {:.2f} on {} pairs ({} beams, length penalty {})", mean.rouge1.f * 100,
               mean.rouge2.f * 100, mean.rouge_l.f * 100, with_commas(static_cast<int64_t>(pairs)), beams.count, beams.length_penalty));
}

void measure_pairs(const tasks::Recipe& recipe, const Model& model, bool json) {
  if (recipe.pairs->test.empty()) fail(ErrorCode::kInvalidArgument, "{}: \"pairs\" has no \"test\" file; --test needs one", recipe.where);
  if (!recipe.pairs->turns.empty()) return measure_dialogues(recipe, model, json);
  std::vector<Encoding> sources;
  std::vector<std::string> references, hypotheses;
  for (const tasks::TextPair& pair : tasks::read_pairs(tasks::Part::kTest, recipe)) {
    sources.push_back(tasks::source_of(pair, recipe, model.tokenizer()));
    references.push_back(pair.target);
  }
  const Beams beams = default_beams(model, {.count = 4});
  std::optional<Progress> progress("translating");
  for (const Generated& made :
       generate_from(model, sources, {.max_tokens = 2 * recipe.length, .progress = progress->callback(), .beams = beams}))
    hypotheses.push_back(made.text);
  progress.reset();
  if (recipe.pairs->rouge) return print_rouge(metrics::mean_rouge(hypotheses, references), references.size(), beams, json);
  warn_of_words(references, recipe.pairs->bleu, "pairs.bleu=zh or pairs.bleu=char");
  const Bleu score = bleu(hypotheses, references, recipe.pairs->bleu);
  const std::string signature = bleu_signature(recipe.pairs->bleu);
  int64_t exact = 0;
  for (size_t at = 0; at < references.size(); ++at) exact += hypotheses[at] == references[at];
  if (json) {
    return print_json(Json::object({{"bleu", score.score},
                                    {"exact", exact},
                                    {"signature", signature},
                                    {"brevity_penalty", score.brevity_penalty},
                                    {"pairs", static_cast<int64_t>(references.size())},
                                    {"beams", beams.count},
                                    {"length_penalty", beams.length_penalty}}));
  }
  print(format("BLEU {:.2f} on {} pairs, {} of them exact ({} beams, length penalty {}; brevity penalty {:.3f}; {})", score.score,
               with_commas(static_cast<int64_t>(references.size())), with_commas(exact), beams.count, beams.length_penalty,
               score.brevity_penalty, signature));
}

void measure_task(const tasks::Recipe& given, const Model& model, bool json) {
  tasks::Recipe recipe = tasks::fitted_to_task(given);
  if (const auto adopt = tasks::definition_of(recipe).adopt) adopt(model.info(), recipe);
  const bool reads_words = model.info().vocabulary > 0;  // an image model is loaded without a tokenizer
  const std::shared_ptr<const Tokenizer> tokenizer =
      reads_words ? model.shared_tokenizer() : Tokenizer::from_json(tasks::tokenizer_json_of(recipe));
  const std::unique_ptr<tasks::Task> task = tasks::task_of(recipe, *tokenizer, train::task_facts(recipe));
  if (!recipe.task->labels.empty() && model.info().labels != recipe.task->labels) {
    fail(ErrorCode::kInvalidArgument, "{}: the model's labels are not those of the recipe's training file; was it trained by this recipe?",
         model.info().name);
  }
  const std::vector<tasks::Example> examples = task->test();
  std::vector<std::vector<double>> predictions;
  std::optional<Progress> progress("measuring");
  const auto run = [&](const tasks::Example& example, Observer* observer) {
    return model.run_batch(example.input, example.source ? &*example.source : nullptr,
                           {.observer = observer, .masked_rows = example.masked_rows});
  };
  for (const tasks::Example& given_example : examples) {
    Maps maps;
    const tasks::Example example = task->complete(given_example, [&](const tasks::Example& one) { return run(one, nullptr); });
    predictions.push_back(task->predictions(run(example, task->reads_maps() ? &maps : nullptr), maps, example));
    if (const auto report = progress->callback()) report(static_cast<double>(predictions.size()) / static_cast<double>(examples.size()));
  }
  progress.reset();
  const std::vector<double> values = task->metrics(examples, predictions);
  std::vector<std::pair<std::string, double>> named;
  for (size_t at = 0; at < values.size(); ++at) named.emplace_back(task->metric_names()[at], values[at]);
  for (const auto& look : task->attention_metrics(model)) named.push_back(look);
  Json line = Json::object();
  std::string text;
  for (const auto& [name, value] : named) {
    line[name] = value;
    text += format("{}{} {:.2f} %", text.empty() ? "" : "  ", name, value * 100);
  }
  for (const auto& [name, value] : task->figures(examples, predictions)) {
    line[name] = value;
    text += format("{}{} {:.{}f}", text.empty() ? "" : "  ", name, value, std::abs(value) < 1 ? 4 : 2);
  }
  const tasks::Measured measured = task->measured(examples);
  line["counted"] = measured.count;
  const auto details = task->test_details(examples, predictions);
  for (const auto& [name, value] : details) line["details"][name] = value;
  if (json) return print_json(line);
  print(format("{}  ({} {})", text, with_commas(measured.count), measured.of));
  for (const auto& [name, value] : details) print(format("{:>8.2f} %  {}", value * 100, name));
}

}  // namespace

void warn_of_words(const std::vector<std::string>& references, BleuWords words, const std::string& remedy) {
  if (words != BleuWords::kMteval13a || !text::are_written_without_spaces(references)) return;
  notice(format(
      "the references are in a language written without spaces, and BLEU's 13a tokenizer treats a whole sentence as one word; set {}",
      remedy));
}

double bits_per_byte(double nats, double bytes) { return nats / std::log(2.0) / bytes; }

Scored sum_of(const Encoding& encoding, const std::vector<float>& log_probabilities, int64_t begin, int64_t end, int64_t from) {
  Scored sum{begin, end};
  for (int64_t i = begin; i < end; ++i) sum.nats -= static_cast<double>(log_probabilities[static_cast<size_t>(i - from - 1)]);
  sum.bytes = encoding.offsets[static_cast<size_t>(end - 1)][1] - encoding.offsets[static_cast<size_t>(begin)][0];
  return sum;
}

void measure(const tasks::Recipe& recipe, const std::string& name, bool json) {
  const auto model = load_model(name);
  switch (tasks::definition_of(recipe).test) {
    case tasks::TestMethod::kBatches: return measure_task(recipe, *model, json);
    case tasks::TestMethod::kTextScores: return measure_texts(recipe, *model, json);
    case tasks::TestMethod::kTranslations: return measure_pairs(recipe, *model, json);
    case tasks::TestMethod::kTranscripts: return measure_transcripts(recipe, *model, json);
  }
}

}  // namespace clearhead::cli
