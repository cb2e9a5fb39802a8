// The first row that writes in each kind of trace, and the names of rows.
#include "observe/written_rows.h"

#include <gtest/gtest.h>

#include "item_traces.h"

namespace clearhead {
namespace {

RunText text_of(const std::vector<std::string>& pieces) {
  RunText text;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool special = pieces[i].front() == '<';
    const auto begin = static_cast<int64_t>(text.text.size());
    if (!special) text.text += pieces[i];
    text.ids.push_back(static_cast<int32_t>(i));
    text.offsets.push_back({begin, static_cast<int64_t>(text.text.size())});
    text.special.push_back(special ? 1 : 0);
    text.pieces.push_back(pieces[i]);
  }
  return text;
}

// "red car" and its translation: 0 red, 1 car, 2 </s>, 3 <s>, 4 voiture, 5 rouge, 6 </s>.
Trace translation() {
  RunPlan plan{.text = text_of({"red", " car", "</s>", "<s>", "voiture", " rouge", "</s>"})};
  plan.text.segments = {{"source", "text", 0, 3}, {"target", "text", 3, 7}};
  plan.families = {item_traces::part("cross", 1, 1, {3, 7}, {0, 3}), item_traces::part("dec", 1, 1, {3, 7}, {3, 7}),
                   item_traces::part("enc", 1, 1, {0, 3}, {0, 3})};
  Trace trace;
  trace.begin(plan);
  return trace;
}

// A prompt of two tokens that a decoder continued with two more.
Trace continuation() {
  RunPlan plan{.text = text_of({"It", " is", " a", " day"})};
  plan.families = {{.name = "dec", .layers = 1, .heads = 1, .key_heads = 1, .d_k = 1, .queries = 4, .keys = 4, .causal = true}};
  Trace trace;
  trace.begin(plan);
  trace.set_generated({{.id = 2}, {.id = 3}});
  return trace;
}

std::optional<int64_t> first_of(const Trace& trace, const std::string& family) { return written_rows(trace, trace.family(family)).from; }

TEST(WrittenRows, OfATranslatorBeginAtTheStartTokenOfTheTarget) {
  const Trace trace = translation();
  EXPECT_EQ(first_of(trace, "cross"), 3);
  EXPECT_EQ(first_of(trace, "dec"), 3);
  EXPECT_EQ(first_of(trace, "enc"), std::nullopt);
}

TEST(WrittenRows, OfAContinuedTextBeginAtTheLastTokenOfThePrompt) { EXPECT_EQ(first_of(continuation(), "dec"), 1); }

TEST(WrittenRows, OfATextThatIsOnlyReadDoNotExist) {
  Trace trace = continuation();
  trace.set_generated({});
  EXPECT_EQ(first_of(trace, "dec"), std::nullopt);
}

TEST(WrittenRows, OfAPictureDrawnPatchByPatchAreItsPatches) {
  RunPlan plan;
  for (int i = 0; i < 4; ++i) item_traces::add_item(plan.text, "patch " + std::to_string(i));
  item_traces::close_items(plan.text, "patch", 0, 2, Tensor::zeros({6, 8, 3}, DType::kU8));
  plan.families = {item_traces::part("drawn", 1, 1, {0, 4}, {0, 4}), item_traces::part("enc", 1, 1, {0, 4}, {0, 4})};
  plan.families[0].causal = true;
  Trace trace;
  trace.begin(plan);
  EXPECT_EQ(first_of(trace, "drawn"), 0);
  EXPECT_EQ(first_of(trace, "enc"), std::nullopt);
  const WrittenRows drawn = written_rows(trace, trace.family("drawn"));
  EXPECT_EQ(drawn.named_by(2), 3);
  EXPECT_EQ(name_of_unwritten(trace.plan().text, drawn, 3), "(after the end)");
}

TEST(WrittenRows, OfASoundsTranscriptAreNotNamedByFrames) {
  RunPlan plan{.text = text_of({"<s>", "seven"})};
  plan.text.segments = {{"target", "text", 0, 2}};
  for (int i = 0; i < 3; ++i) item_traces::add_item(plan.text, "frame " + std::to_string(i));
  item_traces::close_items(plan.text, "frame", 2);
  plan.families = {item_traces::part("cross", 1, 1, {0, 2}, {2, 5})};
  Trace trace;
  trace.begin(plan);
  const WrittenRows written = written_rows(trace, trace.family("cross"));
  EXPECT_EQ(written.named_by(0), 1);
  EXPECT_EQ(written.named_by(1), std::nullopt);
  EXPECT_EQ(written.rows_of({2, 3}).begin, 2);  // a frame is a key, not a row
}

TEST(WrittenRows, AreNamedByTheTokenAfterTheOneTheyRead) {
  const Trace trace = continuation();
  const WrittenRows written = written_rows(trace, trace.family("dec"));
  EXPECT_EQ(written.named_by(0), 0);
  EXPECT_EQ(written.named_by(1), 2);
  EXPECT_EQ(written.named_by(2), 3);
  EXPECT_EQ(written.named_by(3), std::nullopt);
  EXPECT_EQ(name_of_unwritten(trace.plan().text, written, 3), "(next)");
}

TEST(WrittenRows, AfterTheEndOfATranslationWroteNothing) {
  const Trace trace = translation();
  const WrittenRows written = written_rows(trace, trace.family("cross"));
  EXPECT_EQ(written.named_by(5), 6);
  EXPECT_EQ(written.named_by(6), std::nullopt);
  EXPECT_EQ(name_of_unwritten(trace.plan().text, written, 6), "(after the end)");
}

TEST(WrittenRows, OfATokenAreThoseThatWroteIt) {
  const Trace trace = translation();
  const WrittenRows written = written_rows(trace, trace.family("cross"));
  const auto rows_of = [&](int64_t begin, int64_t end) {
    const Range rows = written.rows_of({begin, end});
    return std::pair(rows.begin, rows.end);
  };
  EXPECT_EQ(rows_of(5, 6), std::pair(4L, 5L));
  EXPECT_EQ(rows_of(4, 6), std::pair(3L, 5L));
  EXPECT_EQ(rows_of(3, 4), std::pair(3L, 4L));  // the start token: its row writes the first word
  EXPECT_EQ(rows_of(0, 2), std::pair(0L, 2L));  // the source
}

TEST(WrittenRows, AndTheTokensThatNameThemAreInverse) {
  const Trace trace = continuation();
  const WrittenRows written = written_rows(trace, trace.family("dec"));
  for (int64_t row = 0; row < 3; ++row) {
    const Range named = written.named_by(Range{row, row + 1}), back = written.rows_of(named);
    EXPECT_EQ(std::pair(back.begin, back.end), std::pair(row, row + 1)) << row;
  }
}

}  // namespace
}  // namespace clearhead
