// Traces whose queries or keys are not tokens: what the file preserves, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <tuple>

#include "clearhead/atlas.h"
#include "clearhead/trace.h"
#include "io/safetensors.h"
#include "item_traces.h"
#include "refused.h"

namespace clearhead {
namespace {

std::string temporary() {
  return (std::filesystem::temp_directory_path() / ("clearhead_items_" + std::to_string(::getpid()) + ".trace")).string();
}

Trace after_the_file(const Trace& trace) {
  const std::string path = temporary();
  trace.save(path);
  Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  return loaded;
}

// Two tokens, two sentences and four patches with their picture; without a run.
RunPlan small_plan() {
  RunPlan plan;
  plan.text.text = "a b";
  plan.text.ids = {1, 2};
  plan.text.offsets = {{0, 1}, {2, 3}};
  plan.text.special = {0, 0};
  plan.text.pieces = {"a", "b"};
  item_traces::add_item(plan.text, "sentence 1", {0, 1});
  item_traces::add_item(plan.text, "sentence 2", {2, 3});
  item_traces::close_items(plan.text, "sentence", 2);
  for (int i = 0; i < 4; ++i) item_traces::add_item(plan.text, "patch " + std::to_string(i));
  item_traces::close_items(plan.text, "patch", 4, 2, Tensor::zeros({6, 8, 3}, DType::kU8));
  plan.families = {item_traces::part("cross", 1, 1, {0, 2}, {4, 8})};
  return plan;
}

TEST(TraceItems, NamesTextAndPicturesSurviveSaveAndLoad) {
  for (const auto& [name, make] : item_traces::all()) {
    SCOPED_TRACE(name);
    const Trace trace = make(), loaded = after_the_file(trace);
    const RunText &before = trace.plan().text, &after = loaded.plan().text;
    EXPECT_EQ(loaded.id(), trace.id());
    EXPECT_EQ(after.pieces, before.pieces);
    EXPECT_EQ(after.offsets, before.offsets);
    ASSERT_EQ(after.items.size(), before.items.size());
    for (size_t i = 0; i < after.items.size(); ++i) {
      const ItemRange &a = before.items[i], &b = after.items[i];
      EXPECT_EQ(std::tuple(b.kind, b.begin, b.end, b.rows), std::tuple(a.kind, a.begin, a.end, a.rows));
      ASSERT_EQ(b.picture.defined(), a.picture.defined());
      if (!a.picture.defined()) continue;
      EXPECT_EQ(b.picture.shape(), a.picture.shape());
      EXPECT_EQ(std::memcmp(b.picture.raw(), a.picture.raw(), a.picture.bytes()), 0);
      ASSERT_EQ(b.boxes.defined(), a.boxes.defined());
      if (!a.boxes.defined()) continue;
      EXPECT_EQ(std::memcmp(b.boxes.raw(), a.boxes.raw(), a.boxes.bytes()), 0);
    }
    for (const MapFamily& family : trace.plan().families) {
      for (int layer = 0; layer < family.layers; ++layer) {
        const int64_t query = family.first_query + family.queries - 1, key = family.first_key;
        const std::vector<float> row = trace.map(family.name, layer).row(0, query).weights();
        const std::vector<float> again = loaded.map(family.name, layer).row(0, query).weights();
        ASSERT_EQ(row.size(), before.ids.size());
        EXPECT_EQ(std::memcmp(row.data(), again.data(), row.size() * sizeof(float)), 0);  // NaN at keys outside the family
        EXPECT_FALSE(std::isnan(row[static_cast<size_t>(key)]));
      }
    }
  }
}

TEST(TraceItems, WeightsAreIndexedByItemIds) {
  const Trace trace = item_traces::memory();
  const MapFamily& hop = trace.family("hop");
  const std::vector<float> row = trace.map("hop", 1).row(0, hop.first_query).weights();
  EXPECT_NEAR(row[static_cast<size_t>(hop.first_key + 5)], 0.79f, 1e-5f);
  EXPECT_EQ(trace.plan().text.pieces[static_cast<size_t>(hop.first_key + 5)], "line 6");
  EXPECT_TRUE(std::isnan(row[0]));
  EXPECT_TRUE(std::isnan(row[static_cast<size_t>(hop.first_query)]));
}

TEST(TraceItems, AreFoundById) {
  const RunText text = small_plan().text;
  EXPECT_EQ(text.tokens(), 2);
  EXPECT_EQ(text.items_of(1), nullptr);
  EXPECT_EQ(text.items_of(3)->kind, "sentence");
  EXPECT_EQ(text.items_of(7)->kind, "patch");
  EXPECT_EQ(text.items_of(8), nullptr);
}

TEST(TraceItems, ContributeToTheIdOfATrace) {
  const auto id_of = [](RunPlan plan) {
    Trace trace;
    trace.begin(plan);
    return trace.id();
  };
  const std::string id = id_of(small_plan());
  RunPlan renamed = small_plan(), moved = small_plan(), painted = small_plan();
  renamed.text.pieces[7] = "patch x";
  moved.text.offsets[3] = {0, 3};
  painted.text.items[1].picture.mutable_data<uint8_t>()[5] = 9;
  for (const RunPlan& other : {renamed, moved, painted}) EXPECT_NE(id_of(other), id);
  EXPECT_EQ(id_of(small_plan()), id);
}

TEST(TraceItems, InvalidItemsAreRefusedByName) {
  struct Wrong {
    std::string says;
    std::function<void(RunText&)> change;
  };
  const Wrong wrongs[] = {
      {"items[0], \"sentence\": they are ids [2, 9); expected a range that begins at 2 and ends by 8",
       [](RunText& t) { t.items[0].end = 9; }},
      {"items[1], \"patch\": they are ids [5, 8); expected a range that begins at 4 and ends by 8",
       [](RunText& t) { t.items[1].begin = 5; }},
      {"they end at id 4; expected them to end at the last one, 8", [](RunText& t) { t.items.pop_back(); }},
      {"items[1], \"patch\": 4 of them cannot be arranged in 3 rows", [](RunText& t) { t.items[1].rows = 3; }},
      {"items[0], \"sentence\": 2 of them cannot be arranged in 1 rows", [](RunText& t) { t.items[0].rows = 1; }},
      {"items[0], \"\": their kind must be a word in lower case", [](RunText& t) { t.items[0].kind = ""; }},
      {"items[1], \"patch\": its picture is f32 [2, 2, 3]; expected u8 [height, width, 3] with a height and width from 1 to 4096",
       [](RunText& t) {
         t.items[1].picture = Tensor::zeros({2, 2, 3});
       }},
      {"items[0], \"sentence\": only patches, frames and intervals, and items with boxes, have a picture",
       [](RunText& t) { t.items[0].picture = t.items[1].picture; }},
      {"items[0], \"sentence\": ids[3] is 7; expected -1, not special", [](RunText& t) { t.ids[3] = 7; }},
      {"items[1], \"patch\": id 6 has no name", [](RunText& t) { t.pieces[6] = ""; }},
      {"items[1], \"patch\": id 5 covers bytes [0, 1); a patch has no text",
       [](RunText& t) {
         t.offsets[5] = {0, 1};
       }},
      {"items[0], \"sentence\": id 2 covers bytes [0, 4), but the text has 3",
       [](RunText& t) {
         t.offsets[2] = {0, 4};
       }},
      {"8 ids have 7 offsets, 8 special flags and 8 pieces", [](RunText& t) { t.offsets.pop_back(); }},
  };
  for (const Wrong& wrong : wrongs) {
    RunPlan plan = small_plan();
    wrong.change(plan.text);
    expect_refused(ErrorCode::kInvalidArgument, "trace: the items of the text: " + wrong.says, [&] { Trace().begin(plan); });
  }
}

TEST(TraceItems, InvalidBoxesAreRefused) {
  const auto says = [](const std::function<void(ItemRange&)>& change) {
    RunPlan plan = item_traces::plane().plan();
    change(plan.text.items[0]);
    return error_of([&] { Trace().begin(plan); });
  };
  const std::string where = "kInvalidArgument: trace: the items of the text: items[0], \"person\": ";
  EXPECT_EQ(says([](ItemRange& range) { range.boxes = Tensor::zeros({4, 4}); }), where + "their boxes are f32 [4, 4]; expected f32 [5, 4]");
  EXPECT_EQ(says([](ItemRange& range) { range.picture = {}; }), where + "they have boxes but no picture");
  EXPECT_EQ(says([](ItemRange& range) {
              range.boxes = range.boxes.clone();
              range.boxes.mutable_data<float>()[6] = -1;
            }),
            where + "number 2 of box 1 is -1; expected a finite left and top, and a width and height of 0 or more");
  RunPlan moved = item_traces::plane().plan();
  Trace before, after;
  before.begin(moved);
  moved.text.items[0].boxes = moved.text.items[0].boxes.clone();
  moved.text.items[0].boxes.mutable_data<float>()[0] += 1;
  after.begin(moved);
  EXPECT_NE(before.id(), after.id());
}

TEST(TraceItems, AreValidatedWhenAFileIsLoaded) {
  const std::string path = temporary();
  item_traces::scene().save(path);
  const io::SafeTensors file = io::SafeTensors::open(path);
  io::NamedTensors tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.get(name).clone());
  const auto says = [&](const std::string& from, const std::string& to) {
    std::map<std::string, std::string> metadata = file.metadata();
    std::string& plan = metadata["plan"];
    const size_t at = plan.find(from);
    EXPECT_NE(at, std::string::npos) << plan;
    plan.replace(at, from.size(), to);
    io::write_safetensors(path, tensors, metadata);
    return error_of([&] { Trace::load(path); });
  };
  EXPECT_EQ(says("\"rows\":9", "\"rows\":8"),
            "kFormat: " + path + ": plan.items: items[0], \"patch\": 81 of them cannot be arranged in 8 rows");
  EXPECT_EQ(
      says("\"end\":91", "\"end\":92"),
      "kFormat: " + path + ": plan.items: items[0], \"patch\": they are ids [10, 92); expected a range that begins at 10 and ends by 91");
  EXPECT_NE(says("\"picture\":\"picture0\"", "\"picture\":\"ids\"").find("its picture is i32 [91]"), std::string::npos);
  EXPECT_NE(says("\"picture\":\"picture0\"", "\"picture\":\"no\"").find("\"no\""), std::string::npos);
  EXPECT_NE(says("\"rows\":9", "\"rows\":9,\"more\":1").find("more"), std::string::npos);
  std::filesystem::remove(path);
}

TEST(TraceItems, AppendingGeneratedTokensAfterItemsIsRefused) {
  Trace trace;
  trace.begin(small_plan());
  expect_refused(ErrorCode::kUnsupported, "tokens cannot be appended to a text that has items",
                 [&] { trace.generated({.id = 1, .piece = "x"}); });
}

TEST(TraceItems, TheLastTokensBeforeTheItemsMayBeGenerated) {
  Trace trace;
  trace.begin(small_plan());
  trace.set_generated({{.id = 2, .piece = "b", .bytes = "b", .probability = 0.5f}});
  const Trace loaded = after_the_file(trace);
  ASSERT_EQ(loaded.generated_tokens().size(), 1U);
  EXPECT_EQ(loaded.generated_tokens()[0].bytes, "b");
  expect_refused(ErrorCode::kInvalidArgument, "trace: there are 3 generated tokens, but the text has 2",
                 [&] { trace.set_generated(std::vector<GeneratedToken>(3)); });
}

TEST(TraceItems, ABudgetTooSmallForAllRowsIsRefusedWithTheSizeNeeded) {
  RunPlan plan = small_plan();
  plan.families[0].d_k = 4096;
  const TraceSize whole = Trace::size_of(plan, {.budget_bytes = 1ull << 40});
  const uint64_t budget = whole.keys + whole.statistics + whole.queries - 1;
  expect_refused(ErrorCode::kBudget, "all rows of 1 attention families need",
                 [&] { Trace({.budget_bytes = budget, .tail = 1}).begin(plan); });
  EXPECT_NO_THROW(Trace({.budget_bytes = budget + 1, .tail = 1}).begin(plan));
}

TEST(TraceItems, TokenMatchScoresAreNaN) {
  for (const HeadScores& head : head_atlas(item_traces::scene(), "cross")) {
    for (const HeadScore score : {HeadScore::kDuplicate, HeadScore::kInduction, HeadScore::kRetrieval})
      EXPECT_TRUE(std::isnan(head[score]));
  }
}

TEST(TraceItems, GridItemsHaveNoPreviousLocalOrDistanceScores) {
  for (const HeadScores& head : head_atlas(item_traces::patches(), "patches")) {
    for (const HeadScore score : {HeadScore::kPrevious, HeadScore::kLocal, HeadScore::kDistance}) EXPECT_TRUE(std::isnan(head[score]));
  }
  for (const HeadScores& head : head_atlas(item_traces::frames(), "frames")) EXPECT_GT(head[HeadScore::kLocal], 0.9f);
}

}  // namespace
}  // namespace clearhead
