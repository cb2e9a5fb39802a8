// A model's example.json: which fields it may contain, and errors that name the wrong field.
#include "models/example.h"

#include <gtest/gtest.h>

#include "io/scratch.h"
#include "refused.h"

namespace clearhead {
namespace {

constexpr const char* kLook = R"("title": {"en": "Where?", "zh": "哪里？"}, "look_for": {"en": "the diagonal", "zh": "对角线"})";

ModelExample read(const ScratchFolder& folder, const std::string& fields, const std::string& reads = "text") {
  folder.put("example.json", "{" + fields + ", " + kLook + "}");
  return read_example({.directory = folder.path(), .reads = reads});
}

TEST(ModelExample, ReadsTheInputTheStateAndLookFor) {
  const ScratchFolder folder;
  const ModelExample example = read(folder, R"("input": "a cat", "state": "v=map&h=1.0")");
  EXPECT_EQ(example.input, "a cat");
  EXPECT_EQ(example.question, "");
  EXPECT_EQ(example.state, "v=map&h=1.0");
  EXPECT_EQ(example.look_for.en, "the diagonal");
  EXPECT_EQ(example.look_for.zh, "对角线");
  EXPECT_EQ(example.title.en + example.title.zh, "Where?哪里？");
  EXPECT_GT(example.order, read(folder, R"("input": "a cat", "state": "v=map&h=1.0", "order": 3)").order);
}

TEST(ModelExample, MayChangeOneWord) {
  const ScratchFolder folder;
  const auto example = [&](const std::string& change) {
    return read(folder, R"("input": "it was a cat, a cat", "state": "h=0.0", "change": )" + change);
  };
  EXPECT_EQ(changed_input(example(R"({"from": "was", "to": "is"})")), "it is a cat, a cat");
  for (const char* wrong : {R"({"from": "cat", "to": "dog"})", R"({"from": "dog", "to": "cat"})"})
    expect_refused(ErrorCode::kFormat, R"("change": expected a word "from" that occurs exactly once in "input", which is a text)",
                   [&] { (void)example(wrong); });
  expect_refused(ErrorCode::kFormat, "change.to", [&] { (void)example(R"({"from": "was"})"); });
}

TEST(ModelExample, OfManyLinesIsAListOrOneText) {
  const ScratchFolder folder;
  const auto input = [&](const char* value) {
    return read(folder, std::string(R"("question": "Where is Mary?", "state": "h=0.0", "input": )") + value, "story").input;
  };
  EXPECT_EQ(input(R"(["Mary went home.", "John left."])"), "Mary went home.\nJohn left.");
  EXPECT_EQ(input(R"("Mary went home.\nJohn left.")"), "Mary went home.\nJohn left.");
}

TEST(ModelExample, OfAPictureIsAFileBesideIt) {
  const ScratchFolder folder;
  const std::string picture = folder.put("example.png", "");
  const std::string fields = R"("input": "example.png", "question": "How many?", "state": "h=0.0")";
  EXPECT_EQ(read(folder, fields, "scene").input, picture);
  EXPECT_EQ(read(folder, fields, "scene").question, "How many?");
  EXPECT_EQ(read(folder, fields, "text").input, "example.png") << "a text that looks like a name";
}

TEST(ModelExample, WithoutItsPictureSaysWhichFileIsMissing) {
  const ScratchFolder folder;
  expect_refused(ErrorCode::kNotFound,
                 "/example.json: \"input\" names " + folder / "example.png" + ", which does not exist; expected the path of a picture",
                 [&] { (void)read(folder, R"("input": "example.png", "state": "h=0.0")", "picture"); });
}

TEST(ModelExample, IsRefusedByTheFieldThatIsWrong) {
  const ScratchFolder folder;
  const auto refused = [&](ErrorCode code, const char* says, const char* fields) {
    expect_refused(code, says, [&] { (void)read(folder, fields); });
  };
  refused(ErrorCode::kUnsupported, R"(field "head" is not understood)", R"("input": "a", "state": "h=0.0", "head": 1)");
  refused(ErrorCode::kFormat, R"(field "input" is missing)", R"("state": "h=0.0")");
  refused(ErrorCode::kFormat, R"("input": expected a text, or a list of its lines, found 3)", R"("input": 3, "state": "h=0.0")");
  refused(ErrorCode::kFormat, R"("input": expected some text, found "")", R"("input": "", "state": "h=0.0")");
  refused(ErrorCode::kFormat, R"("state": expected some text, found "")", R"("input": "a", "state": "")");
  folder.put("example.json", R"({"input": "a", "state": "h=0.0", "title": {"en": "a", "zh": "b"}, "look_for": {"en": "the diagonal"}})");
  expect_refused(ErrorCode::kFormat, R"(field "look_for.zh" is missing)", [&] { (void)read_example({.directory = folder.path()}); });
  folder.put("example.json",
             R"({"input": "a", "state": "h=0.0", "title": {"en": "a", "zh": "b"}, "look_for": {"en": "a", "zh": "b", "fr": "c"}})");
  expect_refused(ErrorCode::kUnsupported, R"(field "look_for.fr" is not understood)",
                 [&] { (void)read_example({.directory = folder.path()}); });
}

TEST(ModelExample, RefusesAModelWithoutAnExampleFile) {
  const ScratchFolder folder;
  expect_refused(ErrorCode::kNotFound, "/example.json", [&] { (void)read_example({.directory = folder.path()}); });
}

}  // namespace
}  // namespace clearhead
