// A validation split of the training data: its size, examples that are not separated, the recipe field and the data summary.
#include "tasks/data/held_out.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/file.h"
#include "refused.h"
#include "tasks/recipe/task.h"
#include "text/tokenizer_json.h"
#include "train/run_folder.h"
#include "train/trainable_model.h"

namespace clearhead::tasks {
namespace {

const std::string kModel = R"("tokenizer": "bytes", "length": 10, "batch": 4, "steps": 2,
  "model": {"model_type": "bert", "vocab_size": 256, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 40, "type_vocab_size": 2}})";

int64_t count_of(const std::vector<bool>& are_held) { return std::count(are_held.begin(), are_held.end(), true); }

TEST(HeldOut, IsTheShareOfTheGroupsAndAtLeastOne) {
  std::vector<uint64_t> groups(100);
  std::iota(groups.begin(), groups.end(), uint64_t{7});
  EXPECT_EQ(count_of(held_out(groups, 0.25)), 25);
  EXPECT_EQ(count_of(held_out(groups, 0.0001)), 1);
  EXPECT_EQ(held_out({5, 5, 5, 9, 9, 9}, 0.5)[0] + held_out({5, 5, 5, 9, 9, 9}, 0.5)[3], 1);
}

TEST(HeldOut, FollowsFromTheGroupsAndIsSpreadOverThem) {
  std::vector<uint64_t> groups(100);
  std::iota(groups.begin(), groups.end(), uint64_t{0});
  const std::vector<bool> are_held = held_out(groups, 0.3);
  std::vector<uint64_t> backwards(groups.rbegin(), groups.rend());
  const std::vector<bool> of_backwards = held_out(backwards, 0.3);
  EXPECT_TRUE(std::equal(are_held.begin(), are_held.end(), of_backwards.rbegin()));
  for (int part = 0; part < 4; ++part)
    EXPECT_GT(std::count(are_held.begin() + 25 * part, are_held.begin() + 25 * (part + 1), true), 2) << part;
}

class HeldOutTask : public RunFolder {
 protected:
  HeldOutTask() : RunFolder("held-out") {}
  std::vector<DataSummary> summaries(const std::string& task, const std::string& data,
                                     std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::from_json(byte_tokenizer_json())) const {
    write_file(folder_ + "/recipe.json", R"({"task": )" + task + ", " + kModel);
    write_file(folder_ + "/all.jsonl", data);
    const Recipe read = fitted_to_task(recipe({}));
    return task_of(read, *tokenizer, train::task_facts(read))->summary();
  }
  std::string refusal(const std::string& task) const {
    return error_of([&] { summaries(task, R"({"text": "a", "label": "x"})"); });
  }
};

constexpr const char* kTask = R"({"kind": "classification", "train": "all.jsonl", "held_out": 0.25, "text": "text", "label": "label"})";

TEST_F(HeldOutTask, SplitsTextsAndCountsTheClassesOfEachPart) {
  std::string lines;
  for (int at = 0; at < 40; ++at) lines += format(R"({{"text": "text {}", "label": "{}"}})", at, at % 4 == 0 ? "rare" : "often") + "\n";
  const std::vector<DataSummary> parts = summaries(kTask, lines);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].lines()[0].substr(0, 32), "training: 30 texts of all.jsonl;");
  EXPECT_EQ(parts[1].lines()[0].substr(0, 34), "validation: 10 texts of all.jsonl;");
  EXPECT_EQ(parts[0].classes.at("rare") + parts[1].classes.at("rare"), 10);
  EXPECT_EQ(parts[1].classes.at("rare") + parts[1].classes.at("often"), 10);
}

TEST_F(HeldOutTask, DoesNotSeparateEqualTexts) {
  std::string lines;
  for (int at = 0; at < 40; ++at) lines += format(R"({{"text": "text {}", "label": "label {}"}})", at / 10, at / 10) + "\n";
  const std::vector<DataSummary> parts = summaries(kTask, lines);
  EXPECT_EQ(parts[0].count, 30);
  EXPECT_EQ(parts[0].classes.size(), 3u);
  EXPECT_EQ(parts[1].count, 10);
  EXPECT_EQ(parts[1].classes.size(), 1u);
}

TEST_F(HeldOutTask, KeepsTheWindowsOfAQuestionTogether) {
  std::string lines;
  for (int at = 0; at < 8; ++at)
    lines += R"({"question": "who", "context": "a b c d e f g a b c d e f g", "answers": []})"
             "\n";
  const auto tokenizer = Tokenizer::from_wordpiece("[PAD]\n[UNK]\n[CLS]\n[SEP]\nwho\na\nb\nc\nd\ne\nf\ng\n");
  const std::vector<DataSummary> parts =
      summaries(R"({"kind": "question-answering", "train": "all.jsonl", "held_out": 0.25, "overlap": 1})", lines, tokenizer);
  EXPECT_EQ(parts[0].notes, (std::vector<std::string>{"windows of at most 10 tokens: 24", "questions without an answer: 8"}));
  EXPECT_EQ(parts[0].count, 6);
  EXPECT_EQ(parts[1].count, 2);
}

TEST_F(HeldOutTask, RequiresEitherAValidationFileOrHeldOut) {
  const std::string where = folder_ + "/recipe.json";
  EXPECT_EQ(
      refusal(R"({"kind": "classification", "train": "all.jsonl", "text": "text", "label": "label"})"),
      "kFormat: " + where +
          ": \"task.valid\": expected a validation file, or \"held_out\" with the share of the training examples to validate on, as in "
          "\"held_out\": 0.1");
  EXPECT_NE(refusal(R"({"kind": "classification", "train": "all.jsonl", "valid": "b", "held_out": 0.1, "text": "text", "label": "label"})")
                .find("\"task.valid\": expected no file together with \"held_out\""),
            std::string::npos);
  EXPECT_NE(refusal(R"({"kind": "classification", "train": "all.jsonl", "held_out": 0.5, "text": "text", "label": "label",
                        "labels": ["x", "y"], "shuffle_labels": true})")
                .find("\"task.shuffle_labels\" with \"task.held_out\" would also shuffle the validation labels"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"kind": "babi", "train": "all.jsonl", "held_out": 0.5})").find("field \"task.valid\" is missing"),
            std::string::npos);
}

}  // namespace
}  // namespace clearhead::tasks
