// JSON lines as texts and as pairs: the result equals that of a plain file with the same texts,
// and a value that is not a text is named with its line.
#include "tasks/data/json_lines.h"

#include <gtest/gtest.h>

#include "io/scratch.h"
#include "refused.h"
#include "tasks/data/pair_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

using Texts = std::vector<std::string>;

TEST(JsonLines, AFieldIsAStringOrAListOfStrings) {
  const ScratchFolder folder;
  folder.put("a.jsonl", "{\"n\": 1, \"text\": \"one \\u00e9\"}\r\n{\"text\": [\"two\", \"three\"], \"n\": [[2]]}\n{\"text\": []}");
  const TextSource source{.folder = folder.path(), .files = {"a.jsonl"}, .held_out = 0, .fields = {"text"}};
  EXPECT_EQ(read_part(source, Part::kTrain), Texts{"one \xc3\xa9\ntwo three\n\n"});
}

TEST(JsonLines, SplitsContainWholeLines) {
  const ScratchFolder folder;
  const std::string line = "{\"text\": \"ab\"}\n";  // 15 bytes
  folder.put("a.jsonl", line + line + line + "{\"text\": \"cd\"}\n");
  TextSource source{.folder = folder.path(), .files = {"a.jsonl"}, .held_out = 0.4, .fields = {"text"}};
  EXPECT_EQ(read_part(source, Part::kTrain), Texts{"ab\nab\nab\n"});
  EXPECT_EQ(read_part(source, Part::kValid), Texts{"cd\n"});
  source.splits = "splits.tsv";
  folder.put("splits.tsv", "file\ttrain\tto\tvalid\tto\ttest\tto\na.jsonl\t0\t15\t15\t29\t45\t60\n");
  EXPECT_EQ(read_part(source, Part::kTrain), Texts{"ab\n"});
  EXPECT_EQ(read_part(source, Part::kValid), Texts{"ab\n"});
  EXPECT_EQ(read_part(source, Part::kTest), Texts{"cd\n"});
  folder.put("splits.tsv", "file\ttrain\tto\tvalid\tto\ttest\tto\na.jsonl\t0\t20\t20\t30\t45\t60\n");
  EXPECT_EQ(error_of([&] { read_part(source, Part::kTrain); }),
            "kFormat: " + folder / "a.jsonl" + ", line 2: the line is split at byte 20; expected splits at the ends of lines");
  EXPECT_EQ(error_of([&] { read_part(source, Part::kValid); }),
            "kFormat: " + folder / "a.jsonl" + ", line 2: the line is split at byte 20; expected splits at the ends of lines");
}

TEST(JsonLines, InvalidLinesAreRefusedWithTheirNumber) {
  const auto message = [](const std::string& line) {
    return error_of([&] { for_each_json_line("{\"text\": \"a\"}\n" + line, "a.jsonl", {"text"}, {}, [](const Texts&) {}); });
  };
  EXPECT_EQ(message("[1, 2]\n"), "kFormat: a.jsonl, line 2: expected an object, found an array of 2");
  EXPECT_EQ(message("{\"id\": 1, \"turns\": []}"), "kFormat: a.jsonl, line 2: expected a field \"text\", found \"id\", \"turns\"");
  EXPECT_EQ(message("{}"), "kFormat: a.jsonl, line 2: expected a field \"text\", found no field");
  EXPECT_EQ(message("{\"text\": 12}"), "kFormat: a.jsonl, line 2: \"text\": expected a string or a list of strings, found 12");
  EXPECT_EQ(message("{\"text\": [\"a\", [\"b\"]]}"),
            "kFormat: a.jsonl, line 2: \"text\": expected a string or a list of strings, found a list with an array of 1 in it");
  EXPECT_EQ(message("{\"text\": \"a"), "kFormat: a.jsonl, line 2: not valid JSON at byte 12: invalid string: missing closing quote");
  EXPECT_EQ(message("\n{\"text\": \"a\"}"), "kFormat: a.jsonl, line 2: not valid JSON: it is empty");
}

TEST(JsonLines, APairIsTwoFields) {
  const ScratchFolder folder;
  Recipe recipe;
  recipe.source = {.folder = folder.path(), .fields = {"from", "to"}};
  recipe.pairs = PairFiles{.train = {"pairs.jsonl"}};
  folder.put("pairs.jsonl", "{\"to\": \"b\\t\", \"from\": [\"a\", \"a\"]}\n{\"from\": \"c\", \"to\": [\"d\", \"e\"]}\n");
  const std::vector<TextPair> pairs = read_pairs(Part::kTrain, recipe);
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].source + "|" + pairs[0].target, "a a|b\t");
  EXPECT_EQ(pairs[1].source + "|" + pairs[1].target, "c|d e");
  recipe.source.fields = {"from", "too"};
  EXPECT_EQ(error_of([&] { read_pairs(Part::kTrain, recipe); }),
            "kFormat: " + folder / "pairs.jsonl" + ", line 1: expected a field \"too\", found \"to\", \"from\"");
}

TEST(JsonLines, RecipesMustNameFieldsForJsonLinesOnly) {
  const auto message = [](const std::string& fields) {
    return error_of([&] { Recipe::from(Json::parse("{\"model\": {}, " + fields + "}", "r"), "r.json"); });
  };
  const std::string text = "expected the name of the field that is the text, as in [\"text\"], found ",
                    pairs = "\"pairs\": {\"train\": \"a.tsv\", \"valid\": \"b.jsonl\"}";
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": [\"t\"]"), "no error");
  EXPECT_EQ(message(pairs + ", \"fields\": [\"s\", \"t\"]"), "no error");
  EXPECT_EQ(message("\"files\": [\"a.txt\", \"a.jsonl\"]"),
            "kFormat: r.json: \"a.jsonl\" contains JSON lines: expected \"fields\", the name of the field that is the text, as in "
            "[\"text\"]");
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": \"t\""), "kFormat: r.json: \"fields\": " + text + "\"t\"");
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": [\"s\", \"t\"]"), "kFormat: r.json: \"fields\": " + text + "an array of 2");
  EXPECT_EQ(message("\"files\": [\"a.jsonl\"], \"fields\": [1]"), "kFormat: r.json: \"fields\": " + text + "1");
  EXPECT_EQ(message(pairs + ", \"fields\": [\"t\"]"),
            "kFormat: r.json: \"fields\": expected two names or numbers, of the source and of the target, as in [\"source\", \"target\"], "
            "found an array of 1");
  EXPECT_EQ(message("\"files\": [\"a.txt\"], \"fields\": [\"t\"]"),
            "kFormat: r.json: \"fields\": expected none: no file's name ends in .jsonl, found an array of 1");
}

}  // namespace
}  // namespace clearhead::tasks
