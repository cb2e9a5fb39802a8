// BLEU against the output of sacrebleu (tools/goldens/bleu.py): quotes, numbers, hyphens,
// entities, every kind of whitespace, empty sentences.
#include "text/bleu.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

std::vector<std::string> strings(const Json& list) {
  std::vector<std::string> out;
  for (const Json& item : list.items()) out.push_back(item.string());
  return out;
}

void expect_goldens(const std::string& name, size_t at_least, BleuWords kind) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/bleu/" + name + ".json";
  const Json cases = Json::parse(read_file(path), path);
  ASSERT_GE(cases.size(), at_least);
  for (const Json& expected : cases.items()) {
    SCOPED_TRACE(expected.dump());
    const std::vector<std::string> hypotheses = strings(*expected.find("hypotheses")), words = strings(*expected.find("words"));
    ASSERT_EQ(words.size(), hypotheses.size());
    for (size_t i = 0; i < words.size(); ++i) EXPECT_EQ(bleu_words(hypotheses[i], kind), words[i]);
    const Bleu found = bleu(hypotheses, strings(*expected.find("references")), kind);
    EXPECT_NEAR(found.score, expected.find("score")->number(), tolerance::kDoubleSum);
    EXPECT_NEAR(found.brevity_penalty, expected.find("brevity_penalty")->number(), tolerance::kDouble);
    EXPECT_EQ(found.hypothesis_length, expected.find("hypothesis_length")->integer());
    EXPECT_EQ(found.reference_length, expected.find("reference_length")->integer());
    for (size_t n = 0; n < 4; ++n) {
      EXPECT_EQ(found.matched[n], expected.find("matched")->items()[n].integer());
      EXPECT_EQ(found.total[n], expected.find("total")->items()[n].integer());
      EXPECT_NEAR(found.precisions[n], expected.find("precisions")->items()[n].number(), tolerance::kDoubleSum);
    }
  }
}

TEST(Bleu, CountsAndScoresMatchSacrebleu) { expect_goldens("cases", 61, BleuWords::kMteval13a); }
TEST(Bleu, ChineseTokenisationMatchesSacrebleuZh) { expect_goldens("zh", 26, BleuWords::kChinese); }
TEST(Bleu, CharacterTokenisationMatchesSacrebleuChar) { expect_goldens("char", 26, BleuWords::kCharacters); }

TEST(Bleu, TheSignatureNamesTheTokeniser) {
  EXPECT_EQ(bleu_signature(), "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp");
  EXPECT_EQ(bleu_signature(BleuWords::kChinese), "nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp");
  EXPECT_EQ(bleu_signature(BleuWords::kCharacters), "nrefs:1|case:mixed|eff:no|tok:char|smooth:exp");
}

TEST(Bleu, ASentenceWithoutAReferenceIsRefused) {
  expect_refused(ErrorCode::kInvalidArgument, "2 sentences against 1 references", [&] { bleu({"a", "b"}, {"a"}); });
}

}  // namespace
}  // namespace clearhead
