// Tests how queries and keys that are not tokens are described to the page.
#include <gtest/gtest.h>

#include <cstring>

#include "item_traces.h"
#include "looked_at.h"
#include "refused.h"
#include "viewer/api.h"
#include "viewer/export.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/info.h"
#include "viewer/questions/text.h"

namespace clearhead::viewer {
namespace {

LoadedTrace loaded(Trace trace) { return LoadedTrace(std::make_shared<const Trace>(std::move(trace)), {}); }

Json asked(LoadedTrace& of, const std::string& path, const QueryString& query) {
  return Json::parse(answer(of, {.path = path, .query = query}).body, path);
}

TEST(Items, TheTextListsItemsAfterItsTokens) {
  LoadedTrace memory = loaded(item_traces::memory());
  const Json text = asked(memory, "text", {{"format", "json"}});
  const Json::Array& items = text.find("items")->items();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].dump(),
            R"({"kind":"slot","begin":65,"end":75,"rows":0,"picture":null,"boxes":null,"names":["line 1","line 2","line 3","line 4",)"
            R"("line 5","line 6","line 7","line 8","line 9","line 10"]})");
  EXPECT_EQ(items[1].find("names")->items()[0].string(), "question");
  EXPECT_EQ(text.find("tokens")->integer(), 76);
  const Json::Array& begin = text.find("arrays")->find("begin")->find("data")->items();
  EXPECT_EQ(begin[65].integer(), 0);  // the line begins where its text does
  EXPECT_EQ(begin[66].integer(), 29);
  for (size_t id = 65; id < 76; ++id) EXPECT_EQ(memory.words()[id], -1);
}

TEST(Items, ATextWithoutItemsHasNoItemsField) {
  LoadedTrace plain = looked_at::loaded_of({.tokens = 8});
  EXPECT_EQ(asked(plain, "text", {{"format", "json"}}).find("items"), nullptr);
}

TEST(Items, PicturesAreSentAsTheirPixels) {
  LoadedTrace scene = loaded(item_traces::scene());
  const Tensor& picture = scene.trace().plan().text.items[0].picture;
  const ViewFrame frame = questions::picture(scene, 0);
  EXPECT_EQ(frame.arrays[0].shape, (std::vector<int64_t>{72, 72, 3}));
  const std::vector<uint8_t> pixels = looked_at::array_of<uint8_t>(frame, "pixels");
  EXPECT_EQ(std::memcmp(pixels.data(), picture.raw(), picture.bytes()), 0);
  EXPECT_EQ(answer(scene, {.path = "picture", .query = {{"items", "0"}}}).body, frame.binary());
  expect_refused(ErrorCode::kNotFound, "picture 1: this text has 1 ranges of items", [&] { questions::picture(scene, 1); });
  LoadedTrace memory = loaded(item_traces::memory());
  EXPECT_EQ(error_of([&] { questions::picture(memory, 0); }).substr(0, 9), "kNotFound");
}

TEST(Items, FamiliesReportTheIdRangesOfTheirRowsAndColumns) {
  LoadedTrace hierarchy = loaded(item_traces::hierarchy());
  const Json info = questions::info(hierarchy);
  const Json::Array& families = info.find("families")->items();
  EXPECT_EQ(families[0].find("id")->string(), "sentences");
  EXPECT_EQ(families[0].find("kind")->string(), "other");
  EXPECT_EQ(families[0].find("query_range")->dump(), "[77,78]");
  EXPECT_EQ(families[0].find("key_range")->dump(), "[71,77]");
  EXPECT_EQ(families[1].find("query_range")->dump(), "[71,77]");
  EXPECT_EQ(families[1].find("key_range")->dump(), "[0,71]");
  const Json& summary = families[0].find("summaries")->items()[0];
  EXPECT_EQ(summary.find("en")->string(), "softmax(q·k/√6), every query sees every key");
  EXPECT_EQ(summary.find("zh")->string(), "softmax(q·k/√6)，每个查询可见全部键");
}

TEST(Items, AreNoSinksHoweverMuchTheyHold) {
  for (const auto& [name, make] : item_traces::all()) {
    LoadedTrace one = loaded(make());
    for (const MapFamily& family : one.trace().plan().families) EXPECT_TRUE(one.facts(family.name).sinks.empty()) << name;
  }
}

TEST(Items, RowsAndColumnsAreIndexedByItemIds) {
  LoadedTrace memory = loaded(item_traces::memory());
  const Json row = asked(memory, "row", {{"f", "hop"}, {"l", "2"}, {"q", "75"}, {"top", "2"}, {"format", "json"}});
  EXPECT_EQ(row.find("top")->items()[0].find("begin")->integer(), 70);
  EXPECT_NEAR(row.find("top")->items()[0].find("weight")->number(), 0.91, 1e-4);
  EXPECT_EQ(row.find("visible")->dump(), "[[65,75]]");
  const Json column = asked(memory, "col", {{"f", "hop"}, {"l", "0"}, {"k", "73"}, {"format", "json"}});
  EXPECT_NEAR(column.find("total")->number(), 0.69, 1e-4);
}

TEST(Items, ThumbnailsCoverTheRangesOfTheirFamily) {
  LoadedTrace hierarchy = loaded(item_traces::hierarchy());
  std::vector<ViewFrame> frames;
  questions::atlas(hierarchy, "sentences", [&](ViewFrame frame) { frames.push_back(std::move(frame)); });
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().header.find("queries")->dump(), "[77,78]");
  EXPECT_EQ(frames.back().header.find("keys")->dump(), "[71,77]");
  EXPECT_EQ(frames.back().arrays[0].shape, (std::vector<int64_t>{1, 1, 6}));
}

TEST(Items, ExportedNumbersNameThem) {
  LoadedTrace scene = loaded(item_traces::scene());
  const Json numbers = Json::parse(export_file(scene, "json", "v=read&h=1.0&q=8", "").bytes, "export");
  const Json& patch = numbers.find("tokens")->items()[12];
  EXPECT_EQ(patch.find("item")->string(), "patch");
  EXPECT_EQ(patch.find("name")->string(), "patch 1,3");
  EXPECT_EQ(numbers.find("tokens")->items()[3].find("item"), nullptr);
}

TEST(Items, AnOfflinePageHoldsTheirPictures) {
  for (const auto& [name, make] : item_traces::all()) {
    LoadedTrace one = loaded(make());
    const std::string page = export_file(one, "html", "", "").bytes;
    const bool has_picture = name == "patches" || name == "frames" || name == "scene" || name == "plane";
    EXPECT_EQ(page.find("\"picture/") != std::string::npos, has_picture) << name;
    EXPECT_NE(page.find("\"exact/"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace clearhead::viewer
