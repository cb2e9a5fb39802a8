// Heads planted by a bias must get their names, and the scores of random heads must be the documented sums over their weights.
#include "clearhead/atlas.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "observe/map_cases.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr int64_t kLength = 150;

// Letters with some full stops, one byte per token; every token occurs many times. The first token is special if `special_first` is set.
RunText letters(uint32_t seed, bool special_first = false) {
  RunText text;
  std::mt19937 random(seed);
  for (int64_t i = 0; i < kLength; ++i) {
    const uint32_t choice = static_cast<uint32_t>(random() % 14);
    text.text += choice == 0 ? '.' : static_cast<char>('a' + choice);
    text.ids.push_back(static_cast<int32_t>(choice));
    text.offsets.push_back({i, i + 1});
    text.special.push_back(special_first && i == 0);
    text.pieces.push_back(text.text.substr(static_cast<size_t>(i), 1));
  }
  return text;
}

// The key that a planted head attends to from query i; −1 means no key in particular.
using Target = std::function<int64_t(const RunText& text, int64_t i)>;

Attended planted(const std::vector<Target>& targets, const RunText& text, bool is_causal) {
  const int64_t heads = static_cast<int64_t>(targets.size());
  Tensor bias = Tensor::zeros({1, heads, kLength, kLength});
  float* row = bias.mutable_data<float>();
  for (const Target& target : targets) {
    for (int64_t i = 0; i < kLength; ++i, row += kLength) {
      const int64_t j = target(text, i);
      if (j < 0) continue;
      std::fill(row, row + kLength, -12.0f);
      row[j] = 0;
    }
  }
  AttentionSpec spec;
  spec.terms = {AttentionBias{bias}};
  if (is_causal) spec.topology = causal();
  const Tensor q = random_tensor({1, heads, kLength, 8}, 1, 0.1f), k = random_tensor({1, heads, kLength, 8}, 2, 0.1f);
  return attend(q, k, k, spec);
}

int64_t last_before(const RunText& text, int64_t i, int32_t id) {
  for (int64_t j = i - 1; j >= 0; --j) {
    if (text.ids[static_cast<size_t>(j)] == id) return j;
  }
  return -1;
}
int32_t id_at(const RunText& text, int64_t i) { return text.ids[static_cast<size_t>(i)]; }

int64_t previous_token(const RunText&, int64_t i) { return i - 1; }
int64_t after_last_occurrence(const RunText& text, int64_t i) {
  const int64_t j = last_before(text, i, id_at(text, i));
  return j < 0 || j + 1 == i ? -1 : j + 1;
}
int64_t last_occurrence(const RunText& text, int64_t i) { return last_before(text, i, id_at(text, i)); }
int64_t itself(const RunText&, int64_t i) { return i; }
int64_t nowhere(const RunText&, int64_t) { return -1; }
int64_t first_token(const RunText&, int64_t) { return 0; }
int64_t last_stop(const RunText& text, int64_t i) { return last_before(text, i, 0); }
int64_t what_comes_next(const RunText& text, int64_t i) { return i + 1 < kLength ? last_before(text, i, id_at(text, i + 1)) : -1; }
int64_t three_back(const RunText&, int64_t i) { return std::max<int64_t>(0, i - 3); }

const std::vector<Target> kPlanted = {previous_token, after_last_occurrence, last_occurrence, itself, nowhere, first_token,
                                      last_stop,      what_comes_next,       three_back};
const std::vector<std::string> kNames = {"previous", "induction", "duplicate", "self", "broad", "first", "delimiter", "retrieval", "local"};

MapFamily family_of(bool is_causal, int64_t heads) {
  return {
      .name = "dec", .layers = 1, .heads = heads, .key_heads = heads, .d_k = 8, .queries = kLength, .keys = kLength, .causal = is_causal};
}

TEST(Atlas, CallsPlantedHeadsByTheirNames) {
  on_every_backend([] {
    const RunText text = letters(4);
    const AttentionMap map(planted(kPlanted, text, true).record);
    const auto heads = head_scores(map.reduce(atlas_request(text)), text, family_of(true, static_cast<int64_t>(kPlanted.size())), 7);
    ASSERT_EQ(heads.size(), kNames.size());
    for (size_t h = 0; h < heads.size(); ++h) {
      EXPECT_EQ(heads[h].kind, kNames[h]) << h;
      EXPECT_GT(heads[h].strength, 0.9f) << kNames[h];
      EXPECT_EQ(heads[h].layer, 7);
      EXPECT_EQ(heads[h].head, static_cast<int64_t>(h));
    }
    EXPECT_GT(heads[4][HeadScore::kBroad], 0.99f);
    EXPECT_NEAR(heads[8][HeadScore::kDistance], 3, 0.1);
    EXPECT_NEAR(heads[0][HeadScore::kDistance], 1, 0.05);
  });
}

TEST(Atlas, NamesTheSameHeadsFromSampledRows) {
  const RunText text = letters(9);
  const AttentionMap map(planted(kPlanted, text, true).record);
  const ReductionResult sampled = map.reduce(atlas_request(text), {.sampled_rows = 80});
  ASSERT_FALSE(sampled.exact);
  const auto heads = head_scores(sampled, text, family_of(true, static_cast<int64_t>(kPlanted.size())), 0);
  for (size_t h = 0; h < heads.size(); ++h) EXPECT_EQ(heads[h].kind, kNames[h]) << h;
}

// The documented mean of one head, from its weights row by row. `counts` returns whether key j
// counts for query i; rows without such a key are skipped.
float mean_mass(const MapHead& head, bool is_causal, const std::function<bool(int64_t i, int64_t j)>& counts) {
  double sum = 0;
  int64_t rows = 0;
  for (int64_t i = 0; i < kLength; ++i) {
    const MapRow row = head.row(i);
    bool any = false;
    for (int64_t j = 0; j < (is_causal ? i + 1 : kLength); ++j) {
      if (!counts(i, j)) continue;
      any = true;
      sum += static_cast<double>(row.weights()[static_cast<size_t>(j)]);
    }
    rows += any;
  }
  return rows > 0 ? static_cast<float>(sum / static_cast<double>(rows)) : std::numeric_limits<float>::quiet_NaN();
}

TEST(Atlas, ScoresAreTheDocumentedMeansOverTheWeights) {
  for (const bool is_causal : {true, false}) {
    SCOPED_TRACE(is_causal ? "causal" : "both ways");
    const RunText text = letters(21, /*special_first=*/true);
    AttentionSpec spec;
    if (is_causal) spec.topology = causal();
    const Tensor q = random_tensor({1, 2, kLength, 16}, 5), k = random_tensor({1, 2, kLength, 16}, 6);
    const AttentionMap map(attend(q, k, k, spec).record);
    const auto scores = head_scores(map.reduce(atlas_request(text)), text, family_of(is_causal, 2), 0);
    const std::vector<uint8_t> stops = delimiters_of(text);
    const auto plain = [&](int64_t i) { return i >= 0 && i < kLength && !text.special[static_cast<size_t>(i)]; };
    const auto same = [&](int64_t a, int64_t b) { return plain(a) && plain(b) && id_at(text, a) == id_at(text, b); };
    for (int64_t h = 0; h < 2; ++h) {
      const MapHead head = map.head(0, h);
      const HeadScores& got = scores[static_cast<size_t>(h)];
      const auto expect = [&](HeadScore score, const std::function<bool(int64_t, int64_t)>& counts) {
        EXPECT_NEAR(got[score], mean_mass(head, is_causal, counts), 2 * tolerance::kWeightF32)
            << head_score_definitions()[static_cast<size_t>(score)].id;
      };
      expect(HeadScore::kPrevious, [](int64_t i, int64_t j) { return j == i - 1; });
      expect(HeadScore::kSelf, [](int64_t i, int64_t j) { return j == i; });
      expect(HeadScore::kFirst, [](int64_t, int64_t j) { return j == 0; });
      expect(HeadScore::kLocal, [](int64_t i, int64_t j) { return std::abs(i - j) <= 4; });
      expect(HeadScore::kDuplicate, [&](int64_t i, int64_t j) { return j != i && same(i, j); });
      expect(HeadScore::kInduction, [&](int64_t i, int64_t j) { return j != i && same(i, j - 1); });
      expect(HeadScore::kRetrieval, [&](int64_t i, int64_t j) { return j != i && same(i + 1, j); });
      expect(HeadScore::kDelimiter, [&](int64_t i, int64_t j) { return j != i && stops[static_cast<size_t>(j)] != 0; });
    }
  }
}

TEST(Atlas, AScoreThatNoRowCouldEarnIsNaN) {
  RunText text = letters(3);
  for (size_t i = 0; i < text.ids.size(); ++i) {  // no token occurs twice, and there is no full stop
    text.ids[i] = static_cast<int32_t>(i);
    text.text[i] = 'a';
  }
  const auto heads =
      head_scores(AttentionMap(planted({itself}, text, true).record).reduce(atlas_request(text)), text, family_of(true, 1), 0);
  for (const HeadScore score : {HeadScore::kDuplicate, HeadScore::kInduction, HeadScore::kRetrieval, HeadScore::kDelimiter}) {
    EXPECT_TRUE(std::isnan(heads[0][score])) << static_cast<size_t>(score);
  }
  EXPECT_EQ(heads[0].kind, "self");
}

HeadScores scored(float everywhere) {
  HeadScores head;
  head.scores.fill(everywhere);
  return head;
}

std::string strongest_text(const HeadScores& head, size_t count) {
  std::string text;
  for (const NamedScore& score : strongest(head, count)) text += (text.empty() ? "" : ", ") + std::string(score.id);
  return text;
}

TEST(Atlas, StrongestScoresAreRankedRelativeToTheirThresholds) {
  HeadScores head = scored(0.05f);
  const auto put = [&](HeadScore score, float value) { head.scores[static_cast<size_t>(score)] = value; };
  put(HeadScore::kPrevious, 0.3f);  // 0.75 of the score that names a head
  put(HeadScore::kLocal, 0.5f);     // 0.83
  put(HeadScore::kBroad, 0.6f);     // 0.80
  put(HeadScore::kDistance, 400);   // in tokens, so not a fraction
  put(HeadScore::kInduction, std::nanf(""));
  EXPECT_EQ(strongest_text(head, 2), "local, broad");
  EXPECT_EQ(strongest_text(head, 3), "local, broad, previous");
  EXPECT_FLOAT_EQ(strongest(head, 1)[0].value, 0.5f);
  put(HeadScore::kSelf, 1.000001f);
  EXPECT_EQ(strongest_text(head, 2), "self, local");
  EXPECT_EQ(strongest(head, 1)[0].value, 1) << "a fraction is at most 1";
  EXPECT_EQ(strongest(head, 99).size(), 8u) << "all except the distance and NaN";
}

TEST(Atlas, TheStrongestScoreOfAPlantedHeadIsItsKind) {
  const RunText text = letters(4);
  const AttentionMap map(planted(kPlanted, text, true).record);
  const auto heads = head_scores(map.reduce(atlas_request(text)), text, family_of(true, static_cast<int64_t>(kPlanted.size())), 0);
  for (size_t h = 0; h < heads.size(); ++h) {
    EXPECT_EQ(strongest_text(heads[h], 1), kNames[h]) << h;
  }
}

TEST(Atlas, PunctuationOfAsciiAndChineseAndSpecialTokensAreDelimiters) {
  RunText text;
  text.text = "a. 。，x、’1 ,\n\n";
  const std::vector<std::string> pieces = {"a", ".", " ", "。", "，", "x", "、", "’", "1", " ,", "\n\n"};
  int64_t at = 0;
  for (const std::string& piece : pieces) {
    text.ids.push_back(0);
    text.offsets.push_back({at, at + static_cast<int64_t>(piece.size())});
    text.special.push_back(0);
    at += static_cast<int64_t>(piece.size());
  }
  text.ids.push_back(101);
  text.offsets.push_back({at, at});
  text.special.push_back(1);
  const std::vector<uint8_t> found = delimiters_of(text);
  EXPECT_EQ(found, (std::vector<uint8_t>{0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1}));
}

}  // namespace
}  // namespace clearhead
