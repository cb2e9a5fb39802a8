// Tests the set of characters of scripts without spaces between words.
#include "text/scripts.h"

#include <gtest/gtest.h>

namespace clearhead::text {
namespace {

TEST(Scripts, EastAndSouthEastAsianScriptsAreWrittenWithoutSpaces) {
  for (const char32_t c : U"中々〇あカーｶㄅกຂ木ཀကក𠀀") {
    if (c != 0) {
      EXPECT_TRUE(is_written_without_spaces(c)) << static_cast<uint32_t>(c);
    }
  }
  for (const char32_t c : U"aé1яαאعक한。、「（ ፀ") {
    if (c != 0) {
      EXPECT_FALSE(is_written_without_spaces(c)) << static_cast<uint32_t>(c);
    }
  }
}

TEST(Scripts, LatinHasItsAccentedAndFullWidthLetters) {
  for (const char32_t c : U"azAZéßłșəＡｚ") {
    if (c != 0) {
      EXPECT_TRUE(is_latin(c)) << static_cast<uint32_t>(c);
    }
  }
  for (const char32_t c : U"1 ×÷яα中") {
    if (c != 0) {
      EXPECT_FALSE(is_latin(c)) << static_cast<uint32_t>(c);
    }
  }
}

TEST(Scripts, OfTextsAreDecidedByTheMajorityOfLetters) {
  EXPECT_TRUE(are_written_without_spaces({"猫坐在 GPT 上", "2024"}));
  EXPECT_FALSE(are_written_without_spaces({"the cat 猫 sat"}));
  EXPECT_FALSE(are_written_without_spaces({"", "12,5", "\xFF"}));
}

}  // namespace
}  // namespace clearhead::text
