// "measure": "rouge": what validation compares, and the warning about a metric that never changes.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "base/format.h"
#include "text/tokenizer_json.h"
#include "tolerance.h"
#include "train/run_folder.h"
#include "train/trainable_model.h"
#include "train/trainer.h"

namespace clearhead::tasks {
namespace {

constexpr const char* kRecipe = R"({
  "pairs": {"train": "train.tsv", "valid": "train.tsv", "measure": "rouge"}, "tokenizer": "bytes", "max_tokens": 400, "length": 64, "steps": 5,
  "report": 1, "validate": 1,
  "model": {"model_type": "pointer_generator", "vocab_size": 256, "embedding_size": 8, "hidden_size": 8, "eos_token_id": 0, "pad_token_id": 1,
            "decoder_start_token_id": 1, "max_position_embeddings": 64, "task_specific_params": {"summarization": {}}}
})";

class RougeMeasure : public RunFolder {
 protected:
  RougeMeasure() : RunFolder("rouge") {}
  void SetUp() override {
    RunFolder::SetUp();
    write_file(folder_ + "/recipe.json", kRecipe);
  }
};

TEST_F(RougeMeasure, IsOneForAChineseTextThatEqualsItsReference) {
  write_file(folder_ + "/train.tsv", "夜色降临，猫坐在垫子上。\t猫坐在垫子上\n");
  const Recipe read = recipe({});
  const auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
  const auto task = task_of(read, *tokenizer, train::task_facts(read));
  const std::vector<Example> examples = task->validation_batches();
  ASSERT_EQ(examples.size(), 1U);
  std::vector<double> written(examples[0].targets.begin(), examples[0].targets.end());
  EXPECT_EQ(task->metrics(examples, {written}), (std::vector<double>{1, 1}));
  std::fill(written.begin() + 3, written.end(), -1);  // keeps the first of six characters
  EXPECT_NEAR(task->metrics(examples, {written})[0], 2.0 / 7, tolerance::kDouble);
}

TEST_F(RougeMeasure, AConstantMetricIsWarnedAboutOnceAndAtTheEnd) {
  write_file(folder_ + "/train.tsv", "夜色。\t……\n");  // a reference without a word
  std::vector<std::string> warnings;
  train::Trainer(recipe({}), folder_ + "/run").run([&](const train::TrainingReport& report) { warnings.push_back(report.warning); });
  ASSERT_EQ(warnings.size(), 5U);
  EXPECT_EQ(warnings[1], "");
  EXPECT_EQ(
      warnings[2],
      "rouge_1 was 0.00 % at each of 3 validations, so best/ keeps the first model; does this metric fit the data? \"best\": \"loss\" lets "
      "the validation loss decide");
  EXPECT_EQ(warnings[3], "");
  EXPECT_NE(warnings[4].find("at each of 5 validations"), std::string::npos);
}

}  // namespace
}  // namespace clearhead::tasks
