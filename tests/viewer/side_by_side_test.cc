// Several traces together: which files of a watched run's folder are its steps, their order, and
// what is refused; and traces of any texts side by side.
#include "viewer/side_by_side.h"

#include <gtest/gtest.h>

#include "io/scratch.h"
#include "looked_at.h"
#include "refused.h"
#include "viewer/questions/info.h"

namespace clearhead::viewer {
namespace {

void put(const ScratchFolder& folder, const char* name, float scale, int64_t tokens = 40) {
  looked_at::Options options{.tokens = tokens};
  options.spec.score = Dot{scale};
  looked_at::trace_of(options).save(folder / name);
}

TEST(Checkpoints, AreTheFoldersStepsInTheirOrder) {
  const ScratchFolder folder;
  put(folder, "step-000007.trace", 0.2F);
  put(folder, "step-1000000.trace", 0.3F);
  put(folder, "step-000000.trace", 0.1F);
  for (const char* other : {"step-.trace", "step-12.trace.tmp", "step-1x.trace", "readme.txt"}) folder.put(other, "");
  EXPECT_TRUE(is_watch_folder(folder.path()));
  std::vector<LoadedTrace> traces = open_checkpoints(folder.path(), {});
  ASSERT_EQ(traces.size(), 3U);
  const int64_t steps[] = {0, 7, 1000000};
  for (size_t at = 0; at < 3; ++at) {
    const Json info = questions::info(traces[at]);
    EXPECT_EQ(info.find("step")->integer(), steps[at]);
    ASSERT_EQ(info.find("checkpoints")->size(), 3U);
    const Json& own = info.find("checkpoints")->items()[at];
    EXPECT_EQ(own.find("step")->integer(), steps[at]);
    EXPECT_EQ(own.find("id")->string(), info.find("id")->string());
    EXPECT_EQ(info.find("id")->string(), traces[at].id());
  }
  EXPECT_NE(traces[0].id(), traces[1].id());
}

TEST(Checkpoints, OfAnotherTextAreRefused) {
  const ScratchFolder folder;
  put(folder, "step-000000.trace", 0.1F);
  put(folder, "step-000001.trace", 0.1F, 41);
  try {
    (void)open_checkpoints(folder.path(), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFormat);
  }
}

TEST(Checkpoints, AFolderWithoutStepsIsRefused) {
  const ScratchFolder folder;
  folder.put("model.safetensors", "");
  EXPECT_FALSE(is_watch_folder(folder.path()));
  EXPECT_FALSE(is_watch_folder(folder / "nowhere"));
  expect_refused(ErrorCode::kNotFound, "no step-NNNNNN.trace in this folder", [&] { (void)open_checkpoints(folder.path(), {}); });
}

TEST(SideBySide, ACardWithAChangeNamesTheNextTraceAndItsAnswer) {
  std::vector<ShownTrace> traces(2, {std::make_shared<const Trace>(looked_at::trace_of({.tokens = 20}))});
  traces[0].card = {.title = {.en = "Which?", .zh = "哪个？"}, .answer = "a", .change = WordChange{.from = "w3", .to = "w4"}};
  traces[1].card = {.answer = "b"};
  const Json info = questions::info(side_by_side(traces, {})[1]);
  const std::vector<Json>& all = info.find("traces")->items();
  EXPECT_EQ(all[0].find("card")->find("change")->dump(), R"({"from":"w3","to":"w4","number":1,"answer":"b"})");
  EXPECT_TRUE(all[1].find("card")->is_null()) << "a trace without a title has no card of its own";
}

TEST(SideBySide, EveryTraceListsAllTracesAndItsOwnIndex) {
  std::vector<ShownTrace> traces;
  for (const int64_t tokens : {20, 60}) {
    traces.push_back({std::make_shared<const Trace>(looked_at::trace_of({.tokens = tokens})), "q=" + std::to_string(tokens - 1)});
  }
  traces[1].command = "clearhead view the second";
  traces[1].card = {.title = {.en = "Why?", .zh = "为什么？"}, .look_for = {.en = "its <tail>", .zh = "尾部"}, .answer = "so"};
  std::vector<LoadedTrace> loaded = side_by_side(traces, {.command = "clearhead view both"});
  ASSERT_EQ(loaded.size(), 2U);
  for (size_t at = 0; at < 2; ++at) {
    const Json info = questions::info(loaded[at]);
    EXPECT_EQ(info.find("step")->integer(), static_cast<int64_t>(at));
    EXPECT_EQ(info.find("checkpoints")->size(), 0U);
    ASSERT_EQ(info.find("traces")->size(), 2U);
    const Json& own = info.find("traces")->items()[at];
    EXPECT_EQ(own.find("number")->integer(), static_cast<int64_t>(at));
    EXPECT_EQ(own.find("id")->string(), loaded[at].id());
    EXPECT_EQ(own.find("state")->string(), at == 0 ? "q=19" : "q=59");
    EXPECT_EQ(own.find("model")->string(), "made-up");
    EXPECT_EQ(own.find("begins")->string(), at == 0 ? "w1b2 w3 w4b0 w6 w0b3 w2 w3b1 w5 w6b4 w1 w2b2 w4 w5"
                                                    : "w1b2 w3 w4b0 w6 w0b3 w2 w3b1 w5 w6b4 w1 w2b2 w4 w5b0 w0 w1b3 w3 w4b1 w6 w0b4 w2 …")
        << "eighty bytes of the text";
    EXPECT_EQ(own.find("card")->dump(),
              at == 0
                  ? "null"
                  : R"({"title":{"en":"Why?","zh":"为什么？"},"look_for":{"en":"its <tail>","zh":"尾部"},"answer":"so","change":null})");
    EXPECT_EQ(info.find("command")->string(), at == 0 ? "clearhead view both" : "clearhead view the second");
  }
}

TEST(SideBySide, ModelNamesAreTheFolderOrTheHubOwnerAndName) {
  for (const auto& [named, shown] : {std::pair{"models/digits", "digits"},
                                     {"/home/a/digits/", "digits"},
                                     {"runs/a/best", "best"},
                                     {"google/digits", "google/digits"},
                                     {"digits", "digits"}}) {
    EXPECT_EQ(model_name({.model = named}), shown);
  }
}

TEST(SideBySide, TextPreviewsAreNotTruncatedInsideACharacter) {
  const auto beginning_of = [](const std::string& word) {
    const ShownTrace shown{std::make_shared<const Trace>(looked_at::trace_of({.tokens = 60, .layers = 1, .word = word}))};
    return questions::info(side_by_side({shown}, {})[0]).find("traces")->items()[0].find("begins")->string();
  };
  std::string cats;
  for (int i = 0; i < 26; ++i) cats += "猫";
  EXPECT_EQ(beginning_of("猫"), cats + "…");
  EXPECT_EQ(beginning_of("a\n").substr(0, 4), "a a ");
}

TEST(SideBySide, TextPreviewsOfTranslationsShowSourceAndTarget) {
  Trace trace = looked_at::trace_of({.tokens = 4, .layers = 1, .word = "a\n"});
  trace.set_segments({{"source", "text", 0, 2}, {"target", "text", 2, 4}});
  const ShownTrace shown{std::make_shared<const Trace>(std::move(trace))};
  EXPECT_EQ(side_by_side({shown}, {})[0].options().together[0].begins, "a → a a ");
}

}  // namespace
}  // namespace clearhead::viewer
