// Alignment of two texts, and comparison of two maps: against the same computation in double from
// whole rows, including tokens that only one text has.
#include "viewer/questions/compare.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "looked_at.h"
#include "refused.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;
using Pieces = std::vector<std::array<int64_t, 3>>;

Pieces pieces_of(const std::vector<Aligned>& found) {
  Pieces out;
  for (const Aligned& one : found) out.push_back({one.before, one.after, one.count});
  return out;
}

Pieces pieces(const std::vector<int32_t>& before, const std::vector<int32_t>& after) { return pieces_of(aligned(before, after)); }

TEST(Aligned, TextsThatAreEqualAreOnePiece) { EXPECT_EQ(pieces({1, 2, 3}, {1, 2, 3}), (Pieces{{0, 0, 3}})); }
TEST(Aligned, AReplacedTokenIsNotAligned) { EXPECT_EQ(pieces({1, 2, 3}, {1, 9, 3}), (Pieces{{0, 0, 1}, {2, 2, 1}})); }
TEST(Aligned, InsertedTokensShiftTheRest) { EXPECT_EQ(pieces({1, 2}, {1, 9, 8, 2}), (Pieces{{0, 0, 1}, {1, 3, 1}})); }
TEST(Aligned, TokensBetweenTwoEditsAreAligned) { EXPECT_EQ(pieces({1, 2, 3, 4, 5}, {9, 2, 3, 8, 7, 5}), (Pieces{{1, 1, 2}, {4, 5, 1}})); }
TEST(Aligned, EmptyTextsHaveNothing) { EXPECT_TRUE(aligned({}, {1}).empty()); }
TEST(Aligned, LongDifferingStretchesAreSkippedAndReported) {
  std::vector<int32_t> before(3000, 1), after(3000, 2);
  before.back() = after.back() = before[7] = after[9] = 5;
  bool is_whole = true;
  EXPECT_EQ(pieces_of(aligned(before, after, &is_whole)), (Pieces{{2999, 2999, 1}}));
  EXPECT_FALSE(is_whole);
}

// The length of the longest common subsequence, by its table.
int64_t longest(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  std::vector<std::vector<int64_t>> table(a.size() + 1, std::vector<int64_t>(b.size() + 1, 0));
  for (size_t i = a.size(); i-- > 0;) {
    for (size_t j = b.size(); j-- > 0;) table[i][j] = a[i] == b[j] ? table[i + 1][j + 1] + 1 : std::max(table[i + 1][j], table[i][j + 1]);
  }
  return table[0][0];
}

TEST(Aligned, FindsALongestCommonSubsequenceOfAnyTwo) {
  uint32_t state = 12345;
  const auto next = [&](uint32_t below) {
    return static_cast<int32_t>((state = state * 1664525u + 1013904223u) >> 16) % static_cast<int32_t>(below);
  };
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<int32_t> before(static_cast<size_t>(next(30))), after(static_cast<size_t>(next(30)));
    for (auto* text : {&before, &after}) {
      for (int32_t& id : *text) id = next(5);
    }
    int64_t count = 0, i = 0, j = 0;
    for (const Aligned& one : aligned(before, after)) {
      EXPECT_GE(one.before, i);
      EXPECT_GE(one.after, j);
      for (int64_t at = 0; at < one.count; ++at)
        EXPECT_EQ(before[static_cast<size_t>(one.before + at)], after[static_cast<size_t>(one.after + at)]);
      i = one.before + one.count;
      j = one.after + one.count;
      count += one.count;
    }
    EXPECT_EQ(count, longest(before, after)) << "trial " << trial;
  }
}

// The tokens of a text, each at its position; special tokens have their names.
RunText text_of(const std::string& text, const std::vector<std::string>& tokens) {
  RunText out{.text = text};
  int64_t at = 0;
  for (const std::string& token : tokens) {
    const bool special = token[0] == '[';
    const int64_t end = special ? at : at + static_cast<int64_t>(token.size());
    EXPECT_TRUE(special || text.substr(static_cast<size_t>(at), token.size()) == token) << token;
    out.ids.push_back(static_cast<int32_t>(out.ids.size()));
    out.special.push_back(special ? 1 : 0);
    out.offsets.push_back({at, end});
    out.pieces.push_back(token);
    at = end;
  }
  return out;
}

TEST(Align, OneTextOfTwoTokenizersIsAlignedByItsCharacters) {
  const RunText one = text_of("the unhappy cats sat", {"the", " unhappy", " cats", " sat"});
  const RunText two = text_of("the unhappy cats sat", {"[CLS]", "the", " ", "un", "happy", " ", "cat", "s", " ", "sat", "[SEP]"});
  const Alignment found = align(one, two);
  EXPECT_EQ(found.by, Alignment::By::kOffsets);
  EXPECT_EQ(pieces_of(found.pieces),
            (Pieces{{0, 1, 1}, {3, 9, 1}}));  // spaces at the ends make no difference; un|happy and cat|s are not guessed
}

TEST(Align, SpecialTokensOfOneNameAreTheSame) {
  const RunText one = text_of("a b", {"[CLS]", "a", " b", "[SEP]"}), two = text_of("a b", {"[CLS]", "a ", "b", "[END]"});
  EXPECT_EQ(pieces_of(align(one, two).pieces), (Pieces{{0, 0, 3}}));
}

TEST(Align, TwoTextsAreAlignedByTheTextsOfTheirTokens) {
  const Alignment found =
      align(text_of("the cat sat", {"the", " cat", " sat"}), text_of("then the dog sat", {"then", " ", "the", " dog", " sat"}));
  EXPECT_EQ(found.by, Alignment::By::kTexts);
  EXPECT_EQ(pieces_of(found.pieces), (Pieces{{0, 2, 1}, {2, 4, 1}}));
  const Places places = places_of(found.pieces, 3, 5);
  EXPECT_EQ(places.before, (std::vector<int32_t>{-1, -1, 0, 1, -1, 2}));
  EXPECT_EQ(places.after, (std::vector<int32_t>{0, 1, 2, -1, 3, 4}));
}

// ---- maps

std::vector<ViewFrame> pictures(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const LookOptions& options = {}) {
  std::vector<ViewFrame> out;
  questions::compare(
      before, after, look, [&](ViewFrame frame) { out.push_back(std::move(frame)); }, options);
  return out;
}

// ½ Σ p ln(2p/(p+q)) + ½ Σ q ln(2q/(p+q)) over the keys of both texts, with all other keys as one more.
double naive(const std::vector<float>& was, const std::vector<float>& is, const std::vector<Aligned>& pieces) {
  std::vector<double> p, q;
  std::vector<char> in_p(was.size(), 0), in_q(is.size(), 0);
  for (const Aligned& piece : pieces) {
    for (int64_t i = 0; i < piece.count; ++i) {
      p.push_back(static_cast<double>(was[static_cast<size_t>(piece.before + i)]));
      q.push_back(static_cast<double>(is[static_cast<size_t>(piece.after + i)]));
      in_p[static_cast<size_t>(piece.before + i)] = in_q[static_cast<size_t>(piece.after + i)] = 1;
    }
  }
  p.push_back(0);
  q.push_back(0);
  for (size_t key = 0; key < was.size(); ++key) p.back() += in_p[key] ? 0.0 : static_cast<double>(was[key]);
  for (size_t key = 0; key < is.size(); ++key) q.back() += in_q[key] ? 0.0 : static_cast<double>(is[key]);
  const double ps = std::accumulate(p.begin(), p.end(), 0.0), qs = std::accumulate(q.begin(), q.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double a = p[i] / ps, b = q[i] / qs;
    if (a > 0) sum += a * std::log(2 * a / (a + b)) / 2;
    if (b > 0) sum += b * std::log(2 * b / (a + b)) / 2;
  }
  return sum;
}

TEST(Compare, AMapAndItselfDifferInNothing) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 90}), again = looked_at::loaded_of({.tokens = 90});
  const ViewFrame frame = pictures(loaded, again, {.before = {"dec", 1, 2}, .after = {"dec", 1, 2}}).at(0);
  const auto before = array_of<float>(frame, "before"), after = array_of<float>(frame, "after");
  ASSERT_EQ(before.size(), 90u * 90u);
  for (size_t at = 0; at < before.size(); ++at) {
    EXPECT_EQ(std::isnan(before[at]), at % 90 > at / 90) << at;  // NaN exactly where hidden
    EXPECT_TRUE(std::isnan(before[at]) || before[at] == after[at]) << at;
  }
  for (const float divergence : array_of<float>(frame, "divergence")) EXPECT_EQ(divergence, 0.0f);
  std::vector<ViewFrame> ranks;
  questions::compare_heads(loaded, again, {.before = {"dec", 0, 0}, .after = {"dec", 0, 0}},
                           [&](ViewFrame one) { ranks.push_back(std::move(one)); });
  for (const float divergence : array_of<float>(ranks.back(), "divergence")) EXPECT_EQ(divergence, 0.0f);
}

TEST(Compare, ComparedHeadsMatchTheRowsOfTheTraceInDouble) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 90});
  const ViewFrame frame = pictures(loaded, loaded, {.before = {"dec", 0, 1}, .after = {"dec", 1, 3}}).at(0);
  EXPECT_EQ(frame.header.find("badge")->string(), "exact");
  const auto before = array_of<float>(frame, "before"), after = array_of<float>(frame, "after"),
             divergence = array_of<float>(frame, "divergence");
  double mean = 0;
  for (int64_t i = 0; i < 90; ++i) {
    const auto was = loaded.trace().map("dec", 0).row(1, i).weights(), is = loaded.trace().map("dec", 1).row(3, i).weights();
    for (int64_t j = 0; j <= i; ++j) {
      EXPECT_FLOAT_EQ(before[static_cast<size_t>(i * 90 + j)], was[static_cast<size_t>(j)]);
      EXPECT_FLOAT_EQ(after[static_cast<size_t>(i * 90 + j)], is[static_cast<size_t>(j)]);
    }
    const double wanted = naive(was, is, {{0, 0, 90}});
    EXPECT_NEAR(static_cast<double>(divergence[static_cast<size_t>(i)]), wanted, 1e-6) << "row " << i;
    mean += wanted / 90;
  }
  EXPECT_NEAR(frame.header.find("mean")->number(), mean, 1e-6);
}

// The synthetic words repeat; the longer text has all of them, and the additional ones at its end.
TEST(Compare, TokensOfOneTextOnlyAreMarkedAndCountAsOneExtraKey) {
  LoadedTrace one = looked_at::loaded_of({.tokens = 60, .causal = false}), two = looked_at::loaded_of({.tokens = 70, .causal = false});
  const ViewFrame frame = pictures(one, two, {.before = {"enc", 0, 0}, .after = {"enc", 0, 0}}).at(0);
  const auto before = array_of<float>(frame, "before"), after = array_of<float>(frame, "after"),
             divergence = array_of<float>(frame, "divergence");
  ASSERT_EQ(divergence.size(), 70u);
  for (size_t i = 0; i < 70; ++i) {
    for (size_t j = 0; j < 70; ++j) {
      const bool in_both = i < 60 && j < 60;
      EXPECT_EQ(before[i * 70 + j] == -1.0f, !in_both) << i << ", " << j;
      EXPECT_EQ(after[i * 70 + j] == -1.0f, !in_both) << i << ", " << j;
    }
    if (i >= 60) {
      EXPECT_TRUE(std::isnan(divergence[i]));
      continue;
    }
    const auto was = one.trace().map("enc", 0).row(0, static_cast<int64_t>(i)).weights(),
               is = two.trace().map("enc", 0).row(0, static_cast<int64_t>(i)).weights();
    EXPECT_NEAR(static_cast<double>(divergence[i]), naive(was, is, {{0, 0, 60}}), 1e-6) << "row " << i;
  }
}

TEST(Compare, LongMapsPoolPairsAndRowDivergencesByTheirMean) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 300});
  const CompareLook look{.before = {"dec", 0, 0}, .after = {"dec", 1, 0}};
  const ViewFrame whole = pictures(loaded, loaded, look).back();
  EXPECT_EQ(whole.header.find("z")->integer(), 1);
  CompareLook part = look;
  part.rows = {{0, 200}};
  part.columns = {{0, 200}};
  const ViewFrame fine = pictures(loaded, loaded, part).back();
  EXPECT_EQ(fine.header.find("z")->integer(), 0);
  const auto pooled = array_of<float>(whole, "after"), single = array_of<float>(fine, "after"),
             of_rows = array_of<float>(fine, "divergence");
  const auto rows = array_of<float>(whole, "divergence");
  for (size_t r = 0; r < 100; ++r) {
    EXPECT_NEAR(rows[r], (of_rows[2 * r] + of_rows[2 * r + 1]) / 2, 1e-6f);
    for (size_t c = 0; c < r; ++c) {  // below the diagonal: all four pairs are visible
      const size_t at = 2 * r * 200 + 2 * c;
      EXPECT_NEAR(pooled[r * 150 + c], (single[at] + single[at + 1] + single[at + 200] + single[at + 201]) / 4, 1e-6f) << r << ", " << c;
    }
  }
}

TEST(Compare, LongTextsAreSampledFirstAndCanBeCancelled) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 6000, .layers = 1});
  const CompareLook look{.before = {"dec", 0, 0}, .after = {"dec", 0, 1}};
  const std::vector<ViewFrame> found = pictures(loaded, loaded, look);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].header.find("badge")->string(), "sampled");
  EXPECT_EQ(found[0].header.find("sampled_rows")->integer(), 188);  // one row for each row of cells
  EXPECT_EQ(found[1].header.find("badge")->string(), "exact");
  std::atomic<bool> cancel{true};
  expect_refused(ErrorCode::kCancelled, "cancelled", [&] { pictures(loaded, loaded, look, {.cancel = &cancel}); });
}

TEST(CompareHeads, DivergenceIsTheMeanOverRowsInDouble) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  std::vector<ViewFrame> found;
  questions::compare_heads(loaded, loaded, {.before = {"dec", 0, 2}, .after = {"dec", 0, 2}},
                           [&](ViewFrame frame) { found.push_back(std::move(frame)); });
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].header.find("against")->string(), "head");
  const auto values = array_of<float>(found[0], "divergence");
  ASSERT_EQ(values.size(), 8u);
  for (int layer = 0; layer < 2; ++layer) {
    for (int64_t head = 0; head < 4; ++head) {
      double mean = 0;
      for (int64_t i = 0; i < 40; ++i)
        mean +=
            naive(loaded.trace().map("dec", 0).row(2, i).weights(), loaded.trace().map("dec", layer).row(head, i).weights(), {{0, 0, 40}}) /
            40;
      EXPECT_NEAR(static_cast<double>(values[static_cast<size_t>(layer * 4 + head)]), mean, 1e-6) << layer << "." << head;
    }
  }
}

TEST(Compare, RefusesMissingHeadsAndRangesOutsideTheText) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 20});
  expect_refused(ErrorCode::kNotFound, "layer 9", [&] { pictures(loaded, loaded, {.before = {"dec", 0, 0}, .after = {"dec", 9, 0}}); });
  expect_refused(ErrorCode::kNotFound, "cross", [&] { pictures(loaded, loaded, {.before = {"dec", 0, 0}, .after = {"cross", 0, 0}}); });
  expect_refused(ErrorCode::kInvalidArgument, "rows: [5, 99]", [&] {
    pictures(loaded, loaded, {.before = {"dec", 0, 0}, .after = {"dec", 0, 1}, .rows = Range{5, 99}});
  });
}

}  // namespace
}  // namespace clearhead::viewer
