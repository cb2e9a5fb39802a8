// Lines that are assigned to folds by their text, and passages of books without names and headings.
#include "tasks/data/folds.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/format.h"
#include "refused.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

constexpr const char* kModel = R"("model": {"model_type": "hierarchical_attention"}, "tokenizer": "bytes")";

class FoldsAndPassages : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "clearhead-parted-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) const { write_file(folder_ + "/" + name, text); }
  Recipe recipe(const std::string& task) const {
    return Recipe::from(Json::parse(format(R"({{"data": "{}", "task": {}, {}}})", folder_, task, kModel), "recipe"), "small.json");
  }
  // The sentences of each passage in the training part of a book, separated by line breaks.
  std::vector<std::string> passages(const std::string& book, const std::string& more) const {
    write("a.txt", book);
    write("splits.tsv", format("file\tfrom\tto\tfrom\tto\tfrom\tto\na.txt\t0\t{0}\t{0}\t{0}\t{0}\t{0}\n", book.size()));
    std::vector<std::string> out;
    const Recipe made = recipe(R"({"kind": "classification", "passages": {"files": ["a.txt"], "splits": "splits.tsv", )" + more + "}}");
    for (const LabelledInput& one : read_inputs("train", made, "document")) {
      EXPECT_EQ(one.label, "a");
      std::string& text = out.emplace_back();
      for (const std::string& sentence : one.input.texts) text += (text.empty() ? "" : "\n") + sentence;
    }
    return out;
  }
  std::string folder_{};
};

TEST_F(FoldsAndPassages, EveryLineTestsOnceAndValidatesOnceAndEqualTextsAreInOneFold) {
  std::string a, b;
  for (int i = 0; i < 40; ++i) (i % 2 ? a : b) += format("{{\"kind\": \"x\", \"said\": [\"number {}.\", \"and on.\"]}}\n", i);
  write("a.jsonl", a);
  write("b.jsonl", b + "{\"kind\": \"y\", \"said\": [\"number 7.\", \"and on.\"]}\n");  // the same text as a line of a.jsonl
  const auto texts = [&](const char* part, int fold) {
    std::multiset<std::string> out;
    const std::string task = format(R"({{"kind": "classification", "text": "said", "label": "kind",
                                         "folds": {{"files": ["a.jsonl", "b.jsonl"], "count": 4, "hold_out": {}}}}})",
                                    fold);
    for (const LabelledLine& line : read_lines(part, recipe(task))) out.insert(line.input->texts[0]);
    return out;
  };
  std::multiset<std::string> tested;
  for (int fold = 0; fold < 4; ++fold) {
    const auto test = texts("test", fold), valid = texts("valid", fold), train = texts("train", fold);
    EXPECT_EQ(test.size() + valid.size() + train.size(), 41U);
    EXPECT_EQ(valid, texts("test", (fold + 1) % 4));
    EXPECT_NE(test.count("number 7."), 1U);
    for (const std::string& one : test) EXPECT_EQ(train.count(one) + valid.count(one), 0U) << one;
    tested.insert(test.begin(), test.end());
  }
  EXPECT_EQ(tested.size(), 41U);
}

TEST_F(FoldsAndPassages, AFoldFollowsFromTheTextAlone) {
  EXPECT_EQ(hash_of({.text = "hello"}), 0x5a0d15131ec7a1ULL);  // the value that tools/folds computes
  EXPECT_EQ(hash_of({.input = ModelInput{.texts = {"a", "b"}}}), hash_of({.text = "a\nb"}));
}

TEST_F(FoldsAndPassages, PassagesAreWholeSentencesWithAMinimumNumberOfWords) {
  EXPECT_EQ(passages("One two. Three four\nfive six. Seven.\n\nEight nine ten. Eleven.\n", R"("words": 4)"),
            (std::vector<std::string>{"One two.\nThree four five six.", "Seven.\nEight nine ten."}));
}

TEST_F(FoldsAndPassages, HeadingsAndSpeakersAreRemovedAndPunctuationIsNormalised) {
  EXPECT_EQ(passages("Chapter 1. The road.\n\nI.\n\nTHE END OF IT.\n\nOn the Road\n\nFirst Citizen:\n“We go”—he said.\n", R"("words": 1)"),
            (std::vector<std::string>{"\"We go\"--he said."}));
}

TEST_F(FoldsAndPassages, AWordThatIsNeverWrittenWithoutACapitalIsAName) {
  const std::string book = "The cat saw Émile and I saw Ann's hat. Hat of the Ann.\n";
  EXPECT_EQ(passages(book, R"("words": 9, "names": "*")"), (std::vector<std::string>{"The cat saw * and I saw *'s hat."}));
  EXPECT_EQ(passages(book, R"("words": 9)"), (std::vector<std::string>{"The cat saw Émile and I saw Ann's hat."}));
}

TEST_F(FoldsAndPassages, InvalidFoldsAreRefused) {
  expect_refused(ErrorCode::kFormat, R"(small.json: "task.folds.hold_out": expected a fold from 0 to 2, found 3)", [&] {
    recipe(R"({"kind": "classification", "text": "a", "label": "b", "folds": {"files": ["a.jsonl"], "count": 3, "hold_out": 3}})");
  });
  expect_refused(ErrorCode::kUnsupported, R"(small.json: field "task.folds" is not understood)",
                 [&] { recipe(R"({"kind": "token-classification", "train": "a", "valid": "b", "folds": {"files": ["a.jsonl"]}})"); });
}

}  // namespace
}  // namespace clearhead::tasks
