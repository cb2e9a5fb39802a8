// Sequence-to-sequence tasks on pairs of texts: translation, summarisation, and the next turn of a dialogue.
#include <algorithm>

#include "base/hash.h"
#include "metrics/rouge.h"
#include "tasks/data/pair_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

class Pairs : public Task {
 public:
  Pairs(const Recipe& recipe, const Tokenizer& tokenizer, int32_t first)
      : recipe_(recipe),
        tokenizer_(tokenizer),
        training_(Part::kTrain, recipe, tokenizer, first),
        held_(Part::kValid, recipe, tokenizer, first) {}
  Example batch(int64_t number) const override { return training_.shuffled(recipe_.seed, number); }
  std::vector<Example> validation_batches() const override { return held_.in_order(); }
  int64_t tokens() const override { return training_.tokens(); }
  std::vector<DataSummary> summary() const override { return {training_.summary("training"), held_.summary("validation")}; }
  std::string digest() const override { return digest_of(training_, held_); }
  double held_bytes_per_token() const override { return 0; }

  int64_t writes() const override { return recipe_.pairs->rouge && recipe_.pairs->best != "loss" ? held_.longest_target() : 0; }
  std::vector<std::string> metric_names() const override {
    return writes() > 0 ? std::vector<std::string>{"rouge_1", "rouge_l"} : std::vector<std::string>{};
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& written) const override {
    std::vector<std::string> summaries, references;
    const auto text = [&](auto begin, auto end) { return tokenizer_.decode({begin, std::find_if(begin, end, is_no_token)}, true); };
    for (size_t at = 0; at < examples.size() && !written[at].empty(); ++at) {
      const Example& example = examples[at];
      const auto most = static_cast<std::ptrdiff_t>(writes()), length = static_cast<std::ptrdiff_t>(example.input.length);
      for (std::ptrdiff_t row = 0; row < example.input.batch; ++row) {
        const auto made = written[at].begin() + row * most;
        const auto target = example.targets.begin() + row * length;
        summaries.push_back(text(made, made + most));
        references.push_back(text(target, target + length));
      }
    }
    if (summaries.empty()) return {};
    const metrics::Rouge mean = metrics::mean_rouge(summaries, references);
    return {mean.rouge1.f, mean.rouge_l.f};
  }

 private:
  static bool is_no_token(double id) { return id < 0; }

  const Recipe& recipe_;
  const Tokenizer& tokenizer_;
  PairData training_, held_;
};

size_t command_for(const Recipe& recipe) {
  if (!recipe.pairs->turns.empty()) return 2;
  return recipe.pairs->rouge ? 1 : 0;
}

}  // namespace

const TaskDefinition& translation_task() {
  static const TaskDefinition definition = {
      .name = "translation",
      .description = "a target text from a source text, by an encoder-decoder",
      .data = DataFields::kPairs,
      .reads = {"pair"},
      .head = TrainedHead::kCausal,
      .test = TestMethod::kTranslations,
      .writes_text = true,
      .takes_noise = [](const Recipe&) { return true; },
      .commands = {{"translate"}, {"summarise"}, {"chat", ""}},
      .choose_command = command_for,
      .vocabulary_texts = vocabulary_texts_of_pairs,
      .make = [](const Recipe& recipe, const Tokenizer& tokenizer, const TaskFacts& facts) -> std::unique_ptr<Task> {
        return std::make_unique<Pairs>(recipe, tokenizer, facts.first_token);
      },
  };
  return definition;
}

}  // namespace clearhead::tasks
