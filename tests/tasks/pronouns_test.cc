// The data of pronoun resolution: the adjective determines which noun is the target of "it", and the training, validation and test data
// have no pair of nouns in common.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <set>

#include "base/file.h"
#include "tasks/recipe/task.h"
#include "text/tokenizer_json.h"
#include "train/run_folder.h"
#include "train/trainable_model.h"

namespace clearhead::tasks {
namespace {

constexpr const char* kRecipe = R"({
  "task": {"kind": "pronoun-resolution", "examples": 2000}, "tokenizer": "bytes", "length": 100, "batch": 8, "steps": 2,
  "model": {"model_type": "bert", "vocab_size": 256, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 100, "type_vocab_size": 1}
})";

const std::set<std::string> kOfAnimals = {"tired", "weak", "lazy", "sleepy", "ill", "old", "nervous", "shy", "scared", "exhausted"};

class Pronouns : public RunFolder {
 protected:
  Pronouns() : RunFolder("pronouns") {}
  void SetUp() override {
    RunFolder::SetUp();
    write_file(folder_ + "/recipe.json", kRecipe);
  }
};

TEST_F(Pronouns, ReferToTheNounThatTheAdjectiveFits) {
  const Recipe read = fitted_to_task(recipe({}));
  const auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
  const auto task = task_of(read, *tokenizer, train::task_facts(read));
  std::vector<Example> training;
  for (int64_t number = 0; number < 100; ++number) training.push_back(task->batch(number));
  const std::regex form(R"(.*\b[Tt]he (\w+) (?:\w+n't|\w+ not) \w+ the (\w+)\b.*)"), reason(R"(.*\bit was (?:too|so|very) (\w+)\b.*)");
  std::set<std::pair<std::string, std::string>> pairs[3];
  size_t part = 0;
  for (const std::vector<Example>& examples : {training, task->validation_batches(), task->test()}) {
    int64_t animals = 0, all = 0;
    for (const Example& example : examples) {
      for (int64_t row = 0; row < example.input.batch; ++row) {
        const auto first = static_cast<size_t>(row * example.input.length);
        const auto size = example.input.lengths.empty() ? example.input.length : example.input.lengths[static_cast<size_t>(row)];
        std::string text;
        std::set<int32_t> labels;
        for (size_t at = first; at < first + static_cast<size_t>(size); ++at) {
          text += tokenizer->decode({example.input.ids[at]});
          if (example.targets[at] > 0) labels.insert(example.targets[at]);
        }
        std::smatch nouns, why;
        ASSERT_TRUE(std::regex_match(text, nouns, form) && std::regex_match(text, why, reason)) << text;
        pairs[part].insert({nouns[1], nouns[2]});
        const bool is_animal = kOfAnimals.contains(why[1]);
        ASSERT_EQ(labels.size(), 1U) << text;
        EXPECT_EQ(read.task->labels[static_cast<size_t>(*labels.begin())], nouns[is_animal ? 1 : 2]) << text;
        animals += is_animal, ++all;
      }
    }
    EXPECT_NEAR(static_cast<double>(animals) / static_cast<double>(all), 0.5, 0.15);
    ++part;
  }
  for (const auto& [a, b] : {std::pair(0, 1), std::pair(0, 2), std::pair(1, 2)}) {
    for (const auto& pair : pairs[a]) EXPECT_FALSE(pairs[b].contains(pair)) << pair.first << " " << pair.second;
  }
}

}  // namespace
}  // namespace clearhead::tasks
