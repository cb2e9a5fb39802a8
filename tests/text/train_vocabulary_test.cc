// Vocabularies learned from texts: merges computed by hand, and files that equal those of the `tokenizers` package.
#include "text/train_vocabulary.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/parallel.h"
#include "clearhead/error.h"
#include "text/goldens.h"
#include "text/splitter.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

Json trained(const std::vector<std::string_view>& texts, const VocabularyOptions& options) {
  return Json::parse(train_vocabulary(texts, options).tokenizer_json, "trained");
}

std::vector<std::string> merges_of(const Json& json) {
  std::vector<std::string> out;
  for (const Json& merge : json.find("model")->find("merges")->items())
    out.push_back(merge.items()[0].string() + " " + merge.items()[1].string());
  return out;
}

std::vector<std::string> tokens_from(const Json& json, int64_t first) {
  std::vector<std::string> out;
  for (const auto& [token, id] : json.find("model")->find("vocab")->fields()) {
    if (id.integer() >= first) out.push_back(token);
  }
  return out;
}

std::string message_of(const std::vector<std::string_view>& texts, const VocabularyOptions& options) {
  try {
    train_vocabulary(texts, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing thrown";
}

// "low" ·1, " low" ·2, " lower", " newest" ·2, " wide". Counts of pairs: lo 4, ow 4, Ġl 3, then several with 2. l + o comes before o + w:
// equal counts, lower ids. Then lo + w 4 and Ġ + low 3; then, of the pairs that occur twice, those with the lowest ids: e + s, e + w, n +
// ew, Ġ + new, es + t, Ġnew + est. Ġwide and Ġlower occur once.
TEST(TrainVocabulary, MergesAreThoseWorkedOutByHand) {
  const Json json = trained({"low low low lower newest newest wide\n"}, {.size = 1000, .special = {"<e>"}});
  EXPECT_EQ(merges_of(json), (std::vector<std::string>{"l o", "lo w", "Ġ low", "e s", "e w", "n ew", "Ġ new", "es t", "Ġnew est"}));
  const Json& vocabulary = *json.find("model")->find("vocab");
  EXPECT_EQ(vocabulary.size(), 1u + 256 + 9);
  EXPECT_EQ(vocabulary.find("<e>")->integer(), 0);
  EXPECT_EQ(vocabulary.find("!")->integer(), 1);
  EXPECT_EQ(vocabulary.find("lo")->integer(), 257);
}

TEST(TrainVocabulary, InLowerCaseAWordHasTheSameTokensWhereverItStands) {
  const TrainedVocabulary learned = train_vocabulary({"Low low LOW low lower\n"}, {.size = 1000, .lowercase = true});
  EXPECT_EQ(merges_of(Json::parse(learned.tokenizer_json, "trained")), (std::vector<std::string>{"l o", "lo w", "Ġ low"}));
  const auto tokenizer = Tokenizer::from_json(learned.tokenizer_json);
  const Encoding first = tokenizer->encode("LOW low");
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first.ids[0], first.ids[1]);
  EXPECT_EQ(tokenizer->decode(first.ids), " low low");
}

// aaaa: one pair a a, three times; both merges at once give aa aa, which is a new pair.
TEST(TrainVocabulary, PairsThatOverlapAreMergedFromTheLeft) {
  EXPECT_EQ(merges_of(trained({"aaaa aaaaa"}, {.size = 300})), (std::vector<std::string>{"a a", "aa aa"}));
}

TEST(TrainVocabulary, SizeAndMinimumCountLimitTheMerges) {
  const std::string_view text = "low low low lower newest newest wide\n";
  EXPECT_EQ(merges_of(trained({text}, {.size = 258})), (std::vector<std::string>{"l o", "lo w"}));
  EXPECT_EQ(merges_of(trained({text}, {.size = 1000, .minimum_count = 3})), (std::vector<std::string>{"l o", "lo w", "Ġ low"}));
}

TEST(TrainVocabulary, BytePairsEqualThePackagesFileByteForByte) {
  std::vector<std::string_view> texts(golden_lines().begin(), golden_lines().end());
  const std::string found = train_vocabulary(texts, {.size = 1500, .special = {"<|endoftext|>", "<pad>"}}).tokenizer_json;
  EXPECT_TRUE(found + "\n" == read_file(golden_path("trained_bpe.json")));  // not EXPECT_EQ, which would print both
}

// The package breaks ties of WordPiece at random: the golden contains the tokens on which ten runs agreed.
TEST(TrainVocabulary, WordPiecesAreThePackagesTokens) {
  std::vector<std::string_view> texts(golden_lines().begin(), golden_lines().end());
  const Json golden = Json::parse(read_file(golden_path("trained_wordpiece.json")), "trained_wordpiece.json");
  const VocabularyOptions options{.kind = VocabularyKind::kWordPiece,
                                  .size = 100'000,
                                  .minimum_count = golden.find("minimum_count")->integer(),
                                  .special = bert_special_tokens(),
                                  .alphabet = 100'000};
  std::set<std::string> tokens, found;
  for (const Json& token : golden.find("tokens")->items()) tokens.insert(token.string());
  const Json json = trained(texts, options);
  for (const auto& [token, id] : json.find("model")->find("vocab")->fields()) found.insert(token);
  std::vector<std::string> apart;
  std::set_symmetric_difference(found.begin(), found.end(), tokens.begin(), tokens.end(), std::back_inserter(apart));
  EXPECT_EQ(apart, std::vector<std::string>());
}

// hug ·4, hugs ·3, bug ·2, pun ·2 in lower case. b g h n p s u have the ids 5 to 11, ##g ##n ##s ##u follow. ##u ##g occurs 9 times, h ##ug
// 7, hug ##s 3; then, of the pairs that occur twice, those with the lowest ids: b ##ug, then p ##u before ##u ##n, which it splits; pu ##n.
TEST(TrainVocabulary, WordPiecesAreThoseWorkedOutByHand) {
  const Json json = trained({"Hug hug HUG hug hugs hugs Hügs bug bug pun pun"},
                            {.kind = VocabularyKind::kWordPiece, .size = 40, .special = bert_special_tokens()});
  EXPECT_EQ(tokens_from(json, 12), (std::vector<std::string>{"##g", "##n", "##s", "##u", "##ug", "hug", "hugs", "bug", "pu", "pun"}));
  const auto tokenizer = Tokenizer::from_json(json.dump());
  const Encoding encoding = tokenizer->encode("Hugs, pug");
  std::vector<std::string_view> tokens;
  for (const int32_t id : encoding.ids) tokens.push_back(tokenizer->token(id));
  EXPECT_EQ(tokens, (std::vector<std::string_view>{"[CLS]", "hugs", "[UNK]", "pu", "##g", "[SEP]"}));
}

TEST(TrainVocabulary, AnAlphabetKeepsTheMostFrequentCharacters) {
  const Json json = trained({"aaa aa bb bb c"}, {.kind = VocabularyKind::kWordPiece, .size = 20, .special = {"[UNK]"}, .alphabet = 2});
  const Json& vocabulary = *json.find("model")->find("vocab");
  EXPECT_TRUE(vocabulary.find("a") && vocabulary.find("##b"));
  EXPECT_FALSE(vocabulary.find("c"));
  EXPECT_TRUE(json.find("post_processor")->is_null());  // no [CLS], so no template
}

TEST(TrainVocabulary, TrainedVocabulariesRoundTripAndCompressText) {
  std::string text;
  for (const std::string& line : golden_lines()) text += replace_invalid(line) + "\n";
  const auto tokenizer = Tokenizer::from_json(train_vocabulary({text}, {.size = 2000}).tokenizer_json);
  EXPECT_EQ(tokenizer->vocabulary_size(), 2000);
  const Encoding encoding = tokenizer->encode(text);
  EXPECT_EQ(tokenizer->decode(encoding.ids), text);
  EXPECT_LT(encoding.size(), text.size() / 2);
}

// 3 MB are read in three pieces. Runs of spaces cover the places where a piece may end.
TEST(TrainVocabulary, PiecesAndThreadsChangeNothing) {
  std::string text;
  for (size_t i = 0; text.size() < 3'000'000; ++i) {
    text += golden_lines()[i % golden_lines().size()] + (i % 3 ? "\u00a0\n " : " \n\n  x");
  }
  const int before = threads();
  set_threads(1);
  const TrainedVocabulary one = train_vocabulary({text}, {.size = 600});
  set_threads(3);
  const TrainedVocabulary three = train_vocabulary({text}, {.size = 600});
  set_threads(before);
  EXPECT_TRUE(one.tokenizer_json == three.tokenizer_json);
  int64_t count = 0;
  const std::string read = replace_invalid(text);
  for (size_t at = 0; at < read.size(); at = word_end(WordRule{}, read, at)) ++count;
  EXPECT_EQ(one.words, count);
}

TEST(TrainVocabulary, ImpossibleOptionsAreRefused) {
  EXPECT_EQ(message_of({"ab"}, {.size = 256, .special = {"<e>"}}),
            "a vocabulary of 256 tokens has no room for its 1 special tokens and 256 single bytes; expected a size of 257 or more");
  EXPECT_EQ(message_of({"ab"}, {.kind = VocabularyKind::kWordPiece, .size = 3, .special = {"[UNK]"}}),
            "a vocabulary of 3 tokens has no room for its 1 special tokens and 3 single characters; expected a size of 4 or more, or a "
            "smaller alphabet");
  EXPECT_EQ(message_of({"", ""}, {}), "the texts contain no words to train a vocabulary on");
  EXPECT_EQ(message_of({"ab"}, {.special = {"<e>", "<e>"}}), "the special token \"<e>\" is given twice");
  EXPECT_EQ(message_of({"ab"}, {.kind = VocabularyKind::kWordPiece}), "the special tokens lack \"[UNK]\", which WordPiece needs");
}

}  // namespace
}  // namespace clearhead::text
