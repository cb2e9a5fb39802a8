// Encoding a text in parts gives the tokens of the whole text, wherever the parts end.
#include "text/encode_parts.h"

#include <gtest/gtest.h>

#include <random>

namespace clearhead {
namespace {

TEST(EncodeParts, GiveTheTokensOfTheWholeText) {
  const auto wordpiece = Tokenizer::from_wordpiece("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\ncat\ns\n##at\n##s\na\n##a\nb\n##b\n");
  std::mt19937 random(5);
  const char* words[] = {"the", " cat", " sat", "  ", "\n", " cats'", "é", "中文", "\xff\xe4", " aaaaaaaaa", "ab", ".", "1234"};
  for (const auto& tokenizer : {Tokenizer::load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/book"), wordpiece}) {
    for (int round = 0; round < 30; ++round) {
      std::string text;
      while (text.size() < 9000) text += words[random() % std::size(words)];
      if (round % 3 == 0) text.insert(4000, std::string(3000, 'a'));  // a word that is longer than a window
      const Encoding whole = tokenizer->encode(text);
      Encoding joined;
      int parts = 0;
      text::encode_parts(
          *tokenizer, text, true,
          [&](const Encoding& part) {
            ++parts;
            joined.ids.insert(joined.ids.end(), part.ids.begin(), part.ids.end());
            joined.type_ids.insert(joined.type_ids.end(), part.type_ids.begin(), part.type_ids.end());
            joined.offsets.insert(joined.offsets.end(), part.offsets.begin(), part.offsets.end());
            joined.segment.insert(joined.segment.end(), part.segment.begin(), part.segment.end());
          },
          1500, 800);
      EXPECT_EQ(joined.ids, whole.ids) << round;
      EXPECT_EQ(joined.offsets, whole.offsets) << round;
      EXPECT_EQ(joined.segment, whole.segment) << round;
      EXPECT_EQ(joined.type_ids, whole.type_ids) << round;
      EXPECT_GT(parts, 1) << round;
    }
  }
}

}  // namespace
}  // namespace clearhead
