// JSON lines as texts and as pairs: what is read is what a plain file with the same texts gives; what is no text is named with its line.
#include "train/json_lines.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "clearhead/error.h"
#include "train/pair_data.h"
#include "train/recipe.h"
#include "train/text_data.h"

namespace clearhead {
namespace {

std::string scratch() {
  const std::string folder = testing::TempDir() + "json_lines";
  std::filesystem::create_directories(folder);
  return folder;
}

template <class Act>
std::string message_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

using Texts = std::vector<std::string>;

TEST(JsonLines, AFieldIsAStringOrAListOfStrings) {
  const std::string folder = scratch();
  write_file(folder + "/a.jsonl",
             "{\"n\": 1, \"text\": \"one \\u00e9\"}\r\n{\"text\": [\"two\", \"three\"], \"n\": [[2]]}\n{\"text\": []}");
  const TextSource source{.folder = folder, .files = {"a.jsonl"}, .held_out = 0, .fields = {"text"}};
  EXPECT_EQ(read_part(source, Part::kTrain), Texts{"one \xc3\xa9\ntwo three\n\n"});
}

TEST(JsonLines, PartsAreWholeLines) {
  const std::string folder = scratch();
  const std::string line = "{\"text\": \"ab\"}\n";  // 15 bytes
  write_file(folder + "/a.jsonl", line + line + line + "{\"text\": \"cd\"}\n");
  TextSource source{.folder = folder, .files = {"a.jsonl"}, .held_out = 0.4, .fields = {"text"}};
  EXPECT_EQ(read_part(source, Part::kTrain), Texts{"ab\nab\nab\n"});
  EXPECT_EQ(read_part(source, Part::kValid), Texts{"cd\n"});
  source.splits = "splits.tsv";
  write_file(folder + "/splits.tsv", "file\ttrain\tto\tvalid\tto\ttest\tto\na.jsonl\t0\t15\t15\t29\t45\t60\n");
  EXPECT_EQ(read_part(source, Part::kTrain), Texts{"ab\n"});
  EXPECT_EQ(read_part(source, Part::kValid), Texts{"ab\n"});
  EXPECT_EQ(read_part(source, Part::kTest), Texts{"cd\n"});
  write_file(folder + "/splits.tsv", "file\ttrain\tto\tvalid\tto\ttest\tto\na.jsonl\t0\t20\t20\t30\t45\t60\n");
  EXPECT_EQ(message_of([&] { read_part(source, Part::kTrain); }),
            folder + "/a.jsonl, line 2: is cut at byte 20; expected a part to begin and to end with a line");
  EXPECT_EQ(message_of([&] { read_part(source, Part::kValid); }),
            folder + "/a.jsonl, line 2: is cut at byte 20; expected a part to begin and to end with a line");
}

TEST(JsonLines, WhatIsNoTextIsNamedWithItsLine) {
  const auto message = [](const std::string& line) {
    return message_of([&] { for_each_json_line("{\"text\": \"a\"}\n" + line, "a.jsonl", {"text"}, {}, [](const Texts&) {}); });
  };
  EXPECT_EQ(message("[1, 2]\n"), "a.jsonl, line 2: expected an object, found an array of 2");
  EXPECT_EQ(message("{\"id\": 1, \"turns\": []}"), "a.jsonl, line 2: expected a field \"text\", found \"id\", \"turns\"");
  EXPECT_EQ(message("{}"), "a.jsonl, line 2: expected a field \"text\", found no field");
  EXPECT_EQ(message("{\"text\": 12}"), "a.jsonl, line 2: \"text\": expected a string or a list of strings, found 12");
  EXPECT_EQ(message("{\"text\": [\"a\", [\"b\"]]}"),
            "a.jsonl, line 2: \"text\": expected a string or a list of strings, found a list with an array of 1 in it");
  EXPECT_EQ(message("{\"text\": \"a"), "a.jsonl, line 2: not valid JSON at byte 12: invalid string: missing closing quote");
  EXPECT_EQ(message("\n{\"text\": \"a\"}"), "a.jsonl, line 2: not valid JSON: it is empty");
}

TEST(JsonLines, APairIsTwoFields) {
  Recipe recipe;
  recipe.source = {.folder = scratch(), .fields = {"from", "to"}};
  write_file(recipe.source.folder + "/pairs.jsonl",
             "{\"to\": \"b\\t\", \"from\": [\"a\", \"a\"]}\n{\"from\": \"c\", \"to\": [\"d\", \"e\"]}\n");
  const std::vector<TextPair> pairs = read_pairs("pairs.jsonl", recipe);
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].source + "|" + pairs[0].target, "a a|b\t");
  EXPECT_EQ(pairs[1].source + "|" + pairs[1].target, "c|d e");
  recipe.source.fields = {"from", "too"};
  EXPECT_EQ(message_of([&] { read_pairs("pairs.jsonl", recipe); }),
            recipe.source.folder + "/pairs.jsonl, line 1: expected a field \"too\", found \"to\", \"from\"");
}

TEST(JsonLines, ARecipeNamesTheFieldsOfTheFilesThatHaveThem) {
  const auto message = [](const std::string& fields) {
    return message_of([&] { Recipe::from(Json::parse("{\"model\": {}, " + fields + "}", "r"), "r.json"); });
  };
  const std::string text = "expected the name of the field that is the text, as in [\"text\"], found ",
                    pairs = "\"pairs\": {\"train\": \"a.tsv\", \"valid\": \"b.jsonl\"}";
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": [\"t\"]"), "nothing was refused");
  EXPECT_EQ(message(pairs + ", \"fields\": [\"s\", \"t\"]"), "nothing was refused");
  EXPECT_EQ(message("\"files\": [\"a.txt\", \"a.jsonl\"]"),
            "r.json: \"a.jsonl\" holds JSON lines: expected \"fields\", the name of the field that is the text, as in [\"text\"]");
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": \"t\""), "r.json: \"fields\": " + text + "\"t\"");
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": [\"s\", \"t\"]"), "r.json: \"fields\": " + text + "an array of 2");
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": [1]"), "r.json: \"fields\": " + text + "1");
  EXPECT_EQ(message(pairs + ", \"fields\": [\"t\"]"),
            "r.json: \"fields\": expected two names, of the source and of the target, as in [\"source\", \"target\"], found an array of 1");
  EXPECT_EQ(message("\"files\": [\"a.txt\"], \"fields\": [\"t\"]"),
            "r.json: \"fields\": expected none: no file's name ends in .jsonl, found an array of 1");
}

}  // namespace
}  // namespace clearhead
