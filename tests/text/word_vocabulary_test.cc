// A vocabulary of whole words: order, other words, and a round trip.
#include "text/word_vocabulary.h"

#include <gtest/gtest.h>

#include "clearhead/error.h"
#include "clearhead/tokenizer.h"

namespace clearhead {
namespace {

TEST(WordVocabulary, EveryWordIsOneTokenTheMostFrequentFirst) {
  const auto tokenizer = Tokenizer::from_json(word_tokenizer_json({"b7 a-1  b7 C [UNK]", "a-1 b7\nC ##d"}));
  EXPECT_EQ(tokenizer->vocabulary_size(), 5);
  EXPECT_EQ(tokenizer->encode("b7 C a-1 ##d").ids, (std::vector<int32_t>{1, 2, 3, 4}));  // C before a-1: both occur twice
  EXPECT_EQ(tokenizer->encode("b77 c b7##d b a-1").ids, (std::vector<int32_t>{0, 0, 0, 0, 3}));
  EXPECT_EQ(tokenizer->decode({3, 1, 2}), "a-1 b7 C");
  EXPECT_TRUE(tokenizer->is_special(0));
}

TEST(WordVocabulary, TextsWithoutWordsAreRefused) {
  try {
    word_tokenizer_json({" ", "[UNK]"});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(error.what(), "the texts contain no words to make a vocabulary of");
  }
}

}  // namespace
}  // namespace clearhead
