// Test scores of a model: bits a byte = nats / (ln 2 · bytes) over texts, whose first tokens are given; BLEU over pairs, translated with beams; word
// errors over sounds.
#include "cli/measure.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "metrics/words.h"
#include "models/reading.h"
#include "text/bleu.h"
#include "train/learner.h"
#include "train/pair_data.h"
#include "train/task.h"
#include "train/tasks/transcribe.h"

namespace clearhead::cli {
namespace {

void measure_texts(const Recipe& recipe, const Model& model, bool json) {
  const std::vector<std::string> texts = read_part(recipe.source, Part::kTest);
  Json files = Json::object();
  double nats = 0;
  int64_t bytes = 0, tokens = 0;
  const auto bits = [](double of, int64_t over) { return bits_per_byte(of, static_cast<double>(over)); };
  for (size_t at = 0; at < texts.size(); ++at) {
    const Encoding encoding = model.tokenizer().encode(texts[at], {.add_special_tokens = false});
    if (encoding.size() < 2) continue;
    double own = 0;
    for (const float value : log_probabilities(model, encoding.ids)) own -= static_cast<double>(value);
    const int64_t foretold = static_cast<int64_t>(texts[at].size()) - encoding.offsets[0][1];  // the first token is given
    files[recipe.source.files[at]] = bits(own, foretold);
    if (!json)
      print(format("{:.4f} bits a byte  {} ({} tokens)", bits(own, foretold), recipe.source.files[at],
                   with_commas(static_cast<int64_t>(encoding.size()))));
    nats += own;
    bytes += foretold;
    tokens += static_cast<int64_t>(encoding.size());
  }
  if (bytes == 0) fail(ErrorCode::kInvalidArgument, "{}: \"splits\" parts nothing off to test on", recipe.where);
  if (json) return print_json(Json::object({{"bits_per_byte", bits(nats, bytes)}, {"tokens", tokens}, {"files", files}}));
  print(format("{:.4f} bits a byte  all of them ({} tokens)", bits(nats, bytes), with_commas(tokens)));
}

void measure_pairs(const Recipe& recipe, const Model& model, bool json) {
  if (recipe.pairs->test.empty()) fail(ErrorCode::kInvalidArgument, "{}: \"pairs\" names no \"test\" file", recipe.where);
  std::vector<Encoding> sources;
  std::vector<std::string> references, hypotheses;
  for (const TextPair& pair : read_pairs(recipe.pairs->test, recipe)) {
    sources.push_back(model.tokenizer().encode(pair.source));
    references.push_back(pair.target);
  }
  const Beams beams = default_beams(model, {.count = 4});
  std::optional<Progress> progress("translating");
  for (const Generated& made :
       generate_from(model, sources, {.max_tokens = 2 * recipe.length, .progress = progress->callback(), .beams = beams}))
    hypotheses.push_back(made.text);
  progress.reset();
  const Bleu score = bleu(hypotheses, references);
  if (json) {
    return print_json(Json::object({{"bleu", score.score},
                                    {"brevity_penalty", score.brevity_penalty},
                                    {"pairs", static_cast<int64_t>(references.size())},
                                    {"beams", beams.count},
                                    {"length_penalty", beams.length_penalty}}));
  }
  print(format("BLEU {:.2f} on {} pairs ({} beams, length penalty {}; brevity penalty {:.3f})", score.score,
               with_commas(static_cast<int64_t>(references.size())), beams.count, beams.length_penalty, score.brevity_penalty));
}

void measure_task(const Recipe& given, const Model& model, bool json) {
  const Recipe recipe = fitted_to_task(given);
  const std::unique_ptr<Task> task = task_of(recipe, model.tokenizer(), task_facts(recipe));
  if (model.info().labels != recipe.task->labels) {
    fail(ErrorCode::kInvalidArgument, "{}: the model's labels are not those of the recipe's training file; was it trained by this recipe?",
         model.info().name);
  }
  const std::vector<Example> examples = task->test();
  std::vector<std::vector<double>> predictions;
  std::optional<Progress> progress("measuring");
  for (const Example& example : examples) {
    predictions.push_back(task->predictions(run_rows(model, example.input, example.source ? &*example.source : nullptr), example));
    if (const auto report = progress->callback()) report(static_cast<double>(predictions.size()) / static_cast<double>(examples.size()));
  }
  progress.reset();
  const std::vector<double> values = task->metrics(examples, predictions);
  Json line = Json::object();
  std::string text;
  for (size_t at = 0; at < values.size(); ++at) {
    line[task->metric_names()[at]] = values[at];
    text += format("{}{} {:.2f} %", at == 0 ? "" : "  ", task->metric_names()[at], values[at] * 100);
  }
  int64_t counted = 0;
  for (const Example& example : examples) counted += example.counted;
  line["counted"] = counted;
  json ? print_json(line) : print(format("{}  ({} {})", text, with_commas(counted), recipe.task->kind == "tag" ? "words" : "texts"));
}

// How many rows of the cross-attention have their strongest key where the row before has it, or behind. The last row chose no token.
class Forward final : public Observer {
 public:
  void begin(const RunPlan&) override {}
  bool wants(const Site& site) override { return site.family == "cross"; }
  void take(const Site&, const AttentionRecord& record, const KeyNorms&) override {
    const AttentionMap map(record);
    int64_t before = -1;
    for (int64_t query = map.rows_kept().begin; query + 1 < map.rows_kept().end; ++query) {
      const std::vector<float> weights = map.head(0, 0).row(query).weights();
      const int64_t strongest = std::max_element(weights.begin(), weights.end()) - weights.begin();
      if (before >= 0) {
        ++steps_;
        forward_ += strongest >= before;
      }
      before = strongest;
    }
  }
  double share() const { return static_cast<double>(forward_) / static_cast<double>(std::max<int64_t>(1, steps_)); }

 private:
  int64_t steps_ = 0, forward_ = 0;
};

metrics::ErrorRate word_errors(const Model& model, const std::vector<Transcript>& sounds, const GenerateOptions& options) {
  std::vector<Sound> heard;
  std::vector<std::string> expected, written;
  for (const Transcript& one : sounds) {
    heard.push_back(one.sound);
    expected.push_back(one.text);
  }
  for (const Generated& made : transcribe(model, heard, options)) written.push_back(made.text);
  return metrics::word_error_rate(written, expected);
}

void measure_transcription(const Recipe& recipe, const Model& model, bool json) {
  const TestTranscripts sounds = test_transcripts(recipe);
  std::optional<Progress> progress("transcribing");
  GenerateOptions options{.max_tokens = 2 * recipe.length, .progress = progress->callback(), .beams = default_beams(model)};
  const metrics::ErrorRate alone = word_errors(model, sounds.alone, options), joined = word_errors(model, sounds.joined, options);
  progress.reset();
  Forward forward;
  for (const Transcript& one : sounds.joined) model.observe({.sound = one.sound}, forward);
  const auto [least, most] = recipe.task->sounds.tested;
  if (json) {
    return print_json(Json::object({{"word_errors_alone", alone.rate},
                                    {"sounds", static_cast<int64_t>(sounds.alone.size())},
                                    {"word_errors_joined", joined.rate},
                                    {"substitutions", joined.substitutions},
                                    {"insertions", joined.insertions},
                                    {"deletions", joined.deletions},
                                    {"joined", static_cast<int64_t>(sounds.joined.size())},
                                    {"attention_forward", forward.share()}}));
  }
  print(format("word errors {:.2f} %  {} sounds, each alone", alone.rate * 100, with_commas(static_cast<int64_t>(sounds.alone.size()))));
  print(format("word errors {:.2f} %  {} strings of {} to {} sounds: {} substituted, {} inserted, {} left out of {} words",
               joined.rate * 100, with_commas(static_cast<int64_t>(sounds.joined.size())), least, most, joined.substitutions,
               joined.insertions, joined.deletions, with_commas(joined.hits + joined.substitutions + joined.deletions)));
  print(format("attention does not go back in {:.2f} % of the steps", forward.share() * 100));
}

}  // namespace

double bits_per_byte(double nats, double bytes) { return nats / std::log(2.0) / bytes; }

Scored sum_of(const Encoding& encoding, const std::vector<float>& log_probabilities, int64_t begin, int64_t end, int64_t from) {
  Scored sum{begin, end};
  for (int64_t i = begin; i < end; ++i) sum.nats -= static_cast<double>(log_probabilities[static_cast<size_t>(i - from - 1)]);
  sum.bytes = encoding.offsets[static_cast<size_t>(end - 1)][1] - encoding.offsets[static_cast<size_t>(begin)][0];
  return sum;
}

void measure(const Recipe& recipe, const std::string& name, bool json) {
  const auto model = load_model(name);
  if (recipe.task && recipe.task->kind == "transcribe") return measure_transcription(recipe, *model, json);
  if (recipe.task) return measure_task(recipe, *model, json);
  if (recipe.pairs) return measure_pairs(recipe, *model, json);
  measure_texts(recipe, *model, json);
}

}  // namespace clearhead::cli
