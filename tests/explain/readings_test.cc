// Maps tokens of a changed text to those of the original text, and finds where positions and padding begin; plots.
#include "explain/evaluate/readings.h"

#include <gtest/gtest.h>

#include "explain/evaluate/plot.h"
#include "refused.h"
#include "text/tokenizer_json.h"

namespace clearhead::explain {
namespace {

// A model with a byte tokenizer that is never run.
class Bytes final : public Model {
 public:
  explicit Bytes(int64_t longest) : Model({.longest = longest}, Tokenizer::from_json(byte_tokenizer_json())) {}
  RunResult run_batch(const Batch&, const Batch*, const RunOptions&) const override { return {}; }
  ModelCache read(const Batch&, DType, const Interventions&) const override { return {}; }
  RunResult step(const std::vector<int32_t>&, ModelCache&, const RunOptions&) const override { return {}; }
};

const RobustKind kKind{.adds_special_tokens = false};
const RobustOptions kOptions{.typos = 1, .words_kept = 0.5, .shift = 4, .padding = 3, .distractor = "Hm."};

TEST(Readings, TokensAreAlignedAfterADistractor) {
  const Reading found = reading_of(Bytes(64), kKind, "a cat", Change::kBefore, kOptions, 1);
  EXPECT_EQ(found.origin, (std::vector<int64_t>{-1, -1, -1, -1, 0, 1, 2, 3, 4}));
  EXPECT_EQ(found.same, (std::vector<uint8_t>{0, 0, 0, 0, 1, 1, 1, 1, 1}));
}

TEST(Readings, AWordWithATypoIsInOneTextOnly) {
  const Reading found = reading_of(Bytes(64), kKind, "1 cat 2", Change::kTypos, kOptions, 1);
  const std::vector<int64_t> begin(found.origin.begin(), found.origin.begin() + 2), end(found.origin.end() - 2, found.origin.end());
  EXPECT_EQ(begin, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(end, (std::vector<int64_t>{5, 6}));
  for (size_t token = 2; token + 2 < found.origin.size(); ++token) EXPECT_EQ(found.origin[token], -1);
}

TEST(Readings, CaseKeepsPlacesButNotIds) {
  const Reading found = reading_of(Bytes(64), kKind, "a 1", Change::kUpper, kOptions, 1);
  EXPECT_EQ(found.origin, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(found.same, (std::vector<uint8_t>{0, 1, 1}));
}

TEST(Readings, TokensOfOneCharacterAreAlignedInOrder) {
  const Reading found = reading_of(Bytes(64), kKind, "é", Change::kAfter, kOptions, 1);
  EXPECT_EQ(found.origin[0], 0);
  EXPECT_EQ(found.origin[1], 1);
}

TEST(Readings, ShiftedTextsStayWithinTheModelsPositions) {
  EXPECT_EQ(reading_of(Bytes(64), kKind, "a cat", Change::kShift, kOptions, 1).shift, 4);
  EXPECT_EQ(reading_of(Bytes(9), kKind, "a cat", Change::kShift, kOptions, 1).shift, 4);
  EXPECT_EQ(reading_of(Bytes(7), kKind, "a cat", Change::kShift, kOptions, 1).encoding.size(), 0u) << "room for 2 positions, not for 4";
  EXPECT_EQ(reading_of(Bytes(5), kKind, "a cat", Change::kShift, kOptions, 1).encoding.size(), 0U);  // no room: the model is not run
  EXPECT_EQ(reading_of(Bytes(4), kKind, "a cat", Change::kNone, kOptions, 1).encoding.size(), 4U);
  EXPECT_EQ(reading_of(Bytes(4), kKind, "", Change::kNone, kOptions, 1).encoding.size(), 0U);
}

TEST(Readings, ABatchPlacesTokensByShiftAndPaddingSide) {
  const Bytes model(64);
  std::vector<Reading> readings;
  for (const Change change : {Change::kShift, Change::kPaddingBefore, Change::kPaddingAfter})
    readings.push_back(reading_of(model, kKind, "ab", change, kOptions, 1));
  const Batch batch = batch_of(model, readings, {0, 1, 2});
  EXPECT_EQ(batch.length, 5);
  EXPECT_EQ(batch.lengths, (std::vector<int32_t>{2, 5, 2}));
  EXPECT_EQ(batch.position_ids, (std::vector<int32_t>{4, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0}));
  EXPECT_EQ(batch.document_ids, (std::vector<int32_t>{0, 0, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, -1, -1, -1}));
  EXPECT_EQ(batch.ids[8], readings[1].encoding.ids[0]);
}

TEST(Readings, BatchesHoldEachTextThatHasTokensOnce) {
  std::vector<Reading> readings(7);
  for (size_t at = 0; at < 6; ++at) readings[at].encoding.ids.assign(at + 1, 0);
  std::vector<size_t> seen;
  for (const std::vector<size_t>& which : batches_of(readings, 8)) {
    EXPECT_LE(static_cast<int64_t>(which.size()) * readings[which.front()].size(), 8);
    seen.insert(seen.end(), which.begin(), which.end());
  }
  EXPECT_EQ(seen, (std::vector<size_t>{5, 4, 3, 2, 1, 0}));
}

TEST(Plot, HasAPointForEachValueAndEscapesNames) {
  const DotPlot plot{
      .title = "a < b", .rows = {"one & two", "three"}, .panels = {{.title = "p", .values = {metrics::Interval{0.5, 0.4, 0.6}, {}}}}};
  const std::string svg = dot_plot_svg(plot);
  EXPECT_NE(svg.find("one &amp; two"), std::string::npos);
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_EQ(svg.find("<circle"), svg.rfind("<circle"));
  EXPECT_NE(page_html("t", "i", {svg}, {{"x", {"h"}, {{"<c>"}}}}).find("&lt;c&gt;"), std::string::npos);
  DotPlot wrong = plot;
  wrong.rows.push_back("four");
  expect_refused(ErrorCode::kInvalidArgument, "panel \"p\" has 2 values for 3 rows; expected one value for each row",
                 [&] { dot_plot_svg(wrong); });
}

}  // namespace
}  // namespace clearhead::explain
