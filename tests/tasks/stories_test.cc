// Stories in bAbI's format: which statements a question reads, which of them are its supports, and the errors for a broken file.
#include "tasks/babi.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "refused.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

class StoryFiles : public testing::Test {
 protected:
  void SetUp() override {
    recipe.where = "small.json";
    recipe.source.folder = testing::TempDir() + "clearhead-stories-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    recipe.source.origin = "Made by the test.";
    std::filesystem::create_directories(recipe.source.folder);
  }
  void TearDown() override { std::filesystem::remove_all(recipe.source.folder); }
  void write(const std::string& name, const std::string& text) const { write_file(recipe.source.folder + "/" + name, text); }
  void expect_wrong(const std::string& text, const std::string& says) const {
    write("wrong.txt", text);
    expect_refused(ErrorCode::kFormat, recipe.source.folder + "/wrong.txt, " + says, [&] { (void)read_stories("wrong.txt", recipe); });
  }
  Recipe recipe{};
};

TEST_F(StoryFiles, AQuestionReadsThePrecedingStatementsOfItsStory) {
  write("a1.txt",
        "1 Ann went home.\n2 Ben sleeps.\n3 Where is Ann? \thome\t1\n4 Ann left.\n5 Is Ben up?\tno\t4 2\n1 Cats purr.\r\n2 Why?\ta,b\t1\n");
  write("a2.txt", "1 Dogs bark.\n2 Who?\tdogs\n");
  const std::vector<StoryQuestion> found = read_stories("a{1..2}.txt", recipe);
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].asked.input.texts, (std::vector<std::string>{"Ann went home.", "Ben sleeps."}));
  EXPECT_EQ(found[0].asked.input.question, "Where is Ann?");
  EXPECT_EQ(found[0].asked.label, "home");
  EXPECT_EQ(found[0].supports, (std::vector<int32_t>{0}));
  EXPECT_EQ(found[1].asked.input.texts.size(), 3U);  // the question before it is not a statement
  EXPECT_EQ(found[1].supports, (std::vector<int32_t>{2, 1}));
  EXPECT_EQ(found[1].asked.where, recipe.source.folder + "/a1.txt, line 5");
  EXPECT_EQ(found[2].asked.input.texts, (std::vector<std::string>{"Cats purr."}));
  EXPECT_EQ(found[2].asked.label, "a,b");
  EXPECT_EQ(found[3].file, 1);
  EXPECT_TRUE(found[3].supports.empty());
}

TEST_F(StoryFiles, InvalidLinesAreRefusedWithLineAndColumn) {
  expect_wrong("Ann went home.\n", "line 1, column 1: expected a line number and a space");
  expect_wrong("1 Ann went home.\n3 Ben sleeps.\n",
               "line 2, column 1: expected the line number 2 (or 1 to start a new story) after 1, found 3");
  expect_wrong("1 Ann went home.\n2 Where?\t\t1\n", "line 2, column 10: expected the answer");
  expect_wrong("1 Ann went home.\n2 \thome\t1\n", "line 2, column 2: expected a question");
  expect_wrong("1 Ann went home.\n2 Where?\thome\t1 2\n", "line 2, column 17: expected the numbers of statements above");
  expect_wrong("1 Where?\thome\t1\n", "line 1, column 2: expected a statement before the story's first question");
  expect_wrong("1 \n", "line 1, column 2: expected a statement");
}

TEST_F(StoryFiles, ANumberRangeInBracesExpandsToFileNames) {
  EXPECT_EQ(expanded("qa.txt", "r"), (std::vector<std::string>{"qa.txt"}));
  EXPECT_EQ(expanded("q{9..11}_a.txt", "r"), (std::vector<std::string>{"q9_a.txt", "q10_a.txt", "q11_a.txt"}));
  for (const char* wrong : {"q{1..}.txt", "q{2..1}.txt", "q{a..b}.txt", "q{1,2}.txt", "q1..2}.txt", "q{1..2.txt", "q}1..2{.txt"})
    expect_refused(ErrorCode::kFormat, "expected one range of numbers in braces", [&] { (void)expanded(wrong, "r"); });
  expect_refused(ErrorCode::kNotFound, "a1.txt", [&] { (void)read_stories("a{1..2}.txt", recipe); });
}

}  // namespace
}  // namespace clearhead::tasks
