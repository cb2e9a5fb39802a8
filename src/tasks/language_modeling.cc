// Language modelling: predicts the next tokens in windows of texts.
#include <algorithm>

#include "base/format.h"
#include "base/hash.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr int64_t kValidationWindows = 64;

class Windows : public Task {
 public:
  Windows(const Recipe& recipe, const Tokenizer& tokenizer)
      : recipe_(recipe),
        training_(read_part(recipe.source, Part::kTrain), tokenizer),
        held_(read_part(recipe.source, Part::kValid), tokenizer) {}

  Example batch(int64_t number) const override {
    Repeats repeats;
    for (const Repeats& stage : recipe_.repeats) {
      if (number / recipe_.accumulate >= stage.from) repeats = stage;
    }
    const TextData::Order order{.seed = recipe_.seed, .length = recipe_.length, .repeats = repeats};
    return example_of(training_.shuffled(order, number * recipe_.batch, recipe_.batch), recipe_.batch);
  }
  std::vector<Example> validation_batches() const override {
    std::vector<Example> out;
    for (const TextData::Batch& window : held_.in_order(recipe_.length, kValidationWindows)) out.push_back(example_of(window, 1));
    return out;
  }
  int64_t tokens() const override { return training_.tokens(); }
  std::vector<DataSummary> summary() const override {
    const auto of = [&](const char* part, const TextData& data) {
      DataSummary out{.part = part, .files = joined_names(recipe_.source.files), .count = data.tokens(), .of = "tokens"};
      const int64_t windows = std::max<int64_t>(0, data.tokens() - 1) / recipe_.length;
      out.notes.push_back(
          format("{} bytes; {} windows of {} tokens", with_commas(data.bytes()), with_commas(windows), with_commas(recipe_.length)));
      return out;
    };
    DataSummary held = of("validation", held_);
    const int64_t windows = std::max<int64_t>(0, held_.tokens() - 1) / recipe_.length;
    if (windows == 0) held.notes.push_back("shorter than one window, so nothing is validated, and best/ is the model after the last step");
    if (windows > kValidationWindows) held.notes.push_back(format("only the first {} windows are used for validation", kValidationWindows));
    return {of("training", training_), held};
  }
  std::string digest() const override { return digest_of(training_, held_); }
  double held_bytes_per_token() const override {
    return held_.tokens() > 0 ? static_cast<double>(held_.bytes()) / static_cast<double>(held_.tokens()) : 0;
  }

 private:
  Example example_of(const TextData::Batch& batch, int64_t rows) const {
    return {
        .input = {.batch = rows, .length = recipe_.length, .ids = batch.ids}, .targets = batch.targets, .counted = rows * recipe_.length};
  }
  const Recipe& recipe_;
  TextData training_, held_;
};

}  // namespace

const TaskDefinition& language_modeling_task() {
  static const TaskDefinition definition = {
      .name = "language-modeling",
      .description = "the next token of texts, by a model with a causal head",
      .data = DataFields::kFiles,
      .head = TrainedHead::kCausal,
      .test = TestMethod::kTextScores,
      .commands = {{"generate"}},
      .vocabulary_texts = [](const Recipe& recipe) { return read_part(recipe.source, Part::kTrain); },
      .make = make_task<Windows>,
  };
  return definition;
}

}  // namespace clearhead::tasks
