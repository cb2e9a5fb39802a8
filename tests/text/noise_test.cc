// Noise in texts: what is changed, what is kept, and that only the seed decides.
#include "text/noise.h"

#include <gtest/gtest.h>

#include <set>

#include "text/strings.h"
#include "text/tokenizer_json.h"

namespace clearhead {
namespace {

constexpr const char* kText = "The quick brown fox jumps over the lazy dog near a riverbank, while nine grey geese follow quietly behind.";

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string_view word : text::split_at_blanks(text)) out.emplace_back(word);
  return out;
}

// Bytes that are reported as kept must be in both texts.
void expect_kept(const std::string& text, const ChangedText& changed) {
  for (const KeptBytes& kept : changed.kept) {
    const auto size = static_cast<size_t>(kept.end - kept.begin);
    EXPECT_EQ(text.substr(static_cast<size_t>(kept.begin), size), changed.text.substr(static_cast<size_t>(kept.at), size));
  }
}

TEST(Noise, EveryTenthWordHasATypoAndNoOther) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += std::string(i == 0 ? "" : " ") + kText;  // 19 words, 18 of two letters or more
  for (uint64_t seed = 1; seed < 20; ++seed) {
    const ChangedText changed = with_typos(text, 0.1, seed);
    const auto before = words_of(text), after = words_of(changed.text);
    ASSERT_EQ(before.size(), after.size());
    size_t typos = 0;
    for (size_t i = 0; i < before.size(); ++i) typos += before[i] != after[i];
    EXPECT_EQ(typos, 36U) << seed;
    expect_kept(text, changed);
  }
}

TEST(Noise, EveryKindOfTypoOccursAndIsOneStroke) {
  std::set<std::string> found;
  for (uint64_t seed = 0; seed < 400; ++seed) found.insert(with_typos("ab", 1, seed).text);
  for (const std::string typo : {"ba", "a", "b", "aab", "abb", "sb", "av"}) EXPECT_EQ(found.count(typo), 1U) << typo;
  EXPECT_EQ(found.count("ab"), 0U);
  for (const std::string& typo : found) EXPECT_LE(typo.size(), 3U) << typo;
}

TEST(Noise, WordsOfOneLetterNumbersAndEmptyTextsStay) {
  EXPECT_EQ(with_typos("a 12345 I ?", 1, 3).text, "a 12345 I ?");
  EXPECT_EQ(with_typos("", 1, 3).text, "");
  EXPECT_EQ(first_words("", 0.5).text, "");
  EXPECT_NE(with_typos("été", 1, 3).text, "été");
  EXPECT_EQ(with_typos("éé", 1, 4).text.find("\xC3"), 0U);  // whole characters
}

TEST(Noise, TheSeedAndNothingElseDecides) {
  EXPECT_EQ(with_typos(kText, 0.3, 7).text, with_typos(kText, 0.3, 7).text);
  EXPECT_NE(with_typos(kText, 0.3, 7).text, with_typos(kText, 0.3, 8).text);
}

TEST(Noise, CaseConversionMapsOffsetsWhereByteLengthsAgree) {
  const ChangedText upper = in_upper_case("aßé ı.");
  EXPECT_EQ(upper.text, "AßÉ I.");
  ASSERT_EQ(upper.kept.size(), 2U);  // ı has two bytes, I one
  EXPECT_EQ(upper.kept[0].end, 6);
  EXPECT_EQ(upper.kept[1].begin, 8);
  EXPECT_EQ(upper.kept[1].at, 7);
  EXPECT_EQ(in_lower_case("ÀB.").text, "àb.");
}

TEST(Noise, TruncationAndDistractorsReportTheOffsetsOfTheText) {
  EXPECT_EQ(first_words("one two  three", 0.5).text, "one two");
  const ChangedText before = with_distractor("It is so.", "Hm.", true), after = with_distractor("It is so.", "Hm.", false);
  EXPECT_EQ(before.text, "Hm. It is so.");
  EXPECT_EQ(after.text, "It is so. Hm.");
  expect_kept("It is so.", before);
  EXPECT_EQ(before.kept[0].at, 4);
  EXPECT_EQ(after.kept[0].at, 0);
}

TEST(Noise, TokenDropoutKeepsSpecialTokensAndAtLeastOneOther) {
  Encoding encoding;
  for (int32_t i = 0; i < 1000; ++i) {
    encoding.ids.push_back(i);
    encoding.type_ids.push_back(0);
    encoding.offsets.push_back({i, i + 1});
    encoding.segment.push_back(i % 100 == 0 ? Encoding::kSpecial : 0);
  }
  const std::vector<size_t> kept = tokens_kept(encoding, 0.1, 5);
  EXPECT_NEAR(static_cast<double>(kept.size()), 10 + 990 * 0.9, 40);
  for (size_t special = 0; special < 1000; special += 100) EXPECT_EQ(std::count(kept.begin(), kept.end(), special), 1);
  EXPECT_EQ(tokens_kept(encoding, 1, 5).size(), 11U);
  EXPECT_EQ(selected(encoding, {3, 4}).ids, (std::vector<int32_t>{3, 4}));
}

TEST(Noise, AShareOfTheTextsIsNoisy) {
  const auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
  const std::vector<int32_t> clean = tokenizer->encode(kText).ids;
  int noisy = 0;
  for (uint64_t seed = 0; seed < 400; ++seed)
    noisy += noisy_encoding(*tokenizer, kText, "", {.share = 0.25, .typos = 0.5, .token_dropout = 0.1}, seed).ids != clean;
  EXPECT_NEAR(noisy, 100, 30);
  EXPECT_EQ(noisy_encoding(*tokenizer, kText, "", {.share = 0, .typos = 1}, 1).ids, clean);
}

}  // namespace
}  // namespace clearhead
