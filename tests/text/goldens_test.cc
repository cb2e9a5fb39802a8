// Equality with the `tokenizers` package, on lines in some forty languages, unusual characters and invalid UTF-8.
#include <cstdlib>

#include "base/format.h"
#include "text/goldens.h"
#include "text/unicode.h"

namespace clearhead::text {
namespace {

std::shared_ptr<const Tokenizer> golden_tokenizer(const std::string& name) {
  return Tokenizer::from_json(read_file(golden_path(name + ".json")), name + ".json");
}

uint32_t fnv(std::string_view bytes) {
  uint32_t sum = 0x811C9DC5;
  for (const char c : bytes) sum = (sum ^ static_cast<unsigned char>(c)) * 0x01000193;
  return sum;
}

TEST(Goldens, WordPieceEqualsThePackageOnEveryLine) { expect_goldens(*golden_tokenizer("wordpiece"), "wordpiece"); }

TEST(Goldens, Gpt2FormEqualsThePackageOnEveryLine) { expect_goldens(*golden_tokenizer("gpt2"), "gpt2"); }

TEST(Goldens, Llama3FormEqualsThePackageOnEveryLine) { expect_goldens(*golden_tokenizer("llama3"), "llama3"); }

TEST(Goldens, VocabTxtAloneEqualsTheSameVocabularyInJson) {
  const auto json = golden_tokenizer("wordpiece");
  std::string vocab_txt;
  for (int32_t id = 0; id < json->vocabulary_size(); ++id) vocab_txt += std::string(json->token(id)) + "\n";
  expect_goldens(*Tokenizer::from_wordpiece(vocab_txt), "wordpiece");
}

TEST(Goldens, VocabJsonAndMergesEqualTheSameModelInJson) {
  const Json config = Json::parse(read_file(golden_path("gpt2.json")), "gpt2.json");
  std::string merges_txt = "#version: 0.2\n";
  for (const Json& merge : config.find("model")->find("merges")->items()) merges_txt += merge.string() + "\n";
  const auto found = Tokenizer::from_bpe(config.find("model")->find("vocab")->dump(), merges_txt);
  const auto expected = golden_tokenizer("gpt2");
  for (const std::string& line : golden_lines()) ASSERT_EQ(found->encode(line).ids, expected->encode(line).ids) << line;
}

TEST(Goldens, EveryTokenizerJsonComponentEqualsThePackage) {
  const Json variants = Json::parse(read_file(golden_path("variants.json")), "variants.json");
  ASSERT_GE(variants.size(), 40u);
  const std::vector<std::string>& lines = golden_lines();
  for (const Json& variant : variants.items()) {
    const std::string name = variant.find("name")->string();
    Json config = Json::parse(read_file(golden_path(variant.find("base")->string() + ".json")), "base");
    for (const auto& [field, value] : variant.find("change")->fields()) {
      if (field != "model") {
        config[field] = value;
        continue;
      }
      for (const auto& [inner, inner_value] : value.fields()) config["model"][inner] = inner_value;
    }
    const auto tokenizer = Tokenizer::from_json(config.dump(), name);
    const std::string& sums = variant.find("sums")->string();
    int wrong = 0;
    for (size_t i = 0, k = 0; i < lines.size(); i += 5, k += 8) {
      EncodeOptions options;
      if (i % 2) options.pair = lines[0];
      const Encoding encoding = tokenizer->encode(lines[i], options);
      if (format("{:08x}", fnv(packed(encoding))) == sums.substr(k, 8)) continue;
      if (++wrong <= 2) ADD_FAILURE() << name << ": line " << i << " \"" << lines[i] << "\" became " << shown(encoding, *tokenizer);
    }
    EXPECT_EQ(wrong, 0) << name;
  }
}

TEST(Goldens, DecodingEqualsThePackageAlsoTokenByToken) {
  const Json decoded = Json::parse(read_file(golden_path("decoded.json")), "decoded.json");
  ASSERT_EQ(decoded.size(), 3U);
  for (const auto& [name, cases] : decoded.fields()) {
    const auto tokenizer = golden_tokenizer(name);
    ASSERT_GT(cases.size(), 20U) << name;
    for (const Json& item : cases.items()) {
      std::vector<int32_t> ids;
      for (const Json& id : item.items()[0].items()) ids.push_back(static_cast<int32_t>(id.integer()));
      for (const bool skips : {false, true}) {
        const std::string& expected = item.items()[skips ? 2 : 1].string();
        EXPECT_EQ(tokenizer->decode(ids, skips), expected) << name;
        TokenStream stream(tokenizer, skips);
        std::string streamed;
        for (const int32_t id : ids) {
          const std::string text = stream.push(id);
          EXPECT_EQ(valid_prefix(text), text.size());
          streamed += text;
        }
        EXPECT_EQ(streamed + stream.finish(), expected) << name;
      }
    }
  }
}

// The real vocabulary of all-MiniLM-L6-v2 is not in the repository; CLEARHEAD_MINILM names its folder.
TEST(MiniLm, BothFormsOfItsFilesEqualThePackageOnEveryLine) {
  const char* folder = std::getenv("CLEARHEAD_MINILM");
  if (!folder) GTEST_SKIP() << "set CLEARHEAD_MINILM to the folder of all-MiniLM-L6-v2";
  const auto json = Tokenizer::load(folder);
  const auto txt =
      Tokenizer::from_wordpiece(read_file(std::string(folder) + "/vocab.txt"), read_file(std::string(folder) + "/tokenizer_config.json"));
  EXPECT_EQ(json->vocabulary_size(), 30522);
  EXPECT_EQ(json->encode("The cat sat on the mat.").ids, (std::vector<int32_t>{101, 1996, 4937, 2938, 2006, 1996, 13523, 1012, 102}));
  const std::string sums = read_file(golden_path("minilm.sums"));
  const std::vector<std::string>& lines = golden_lines();
  ASSERT_EQ(sums.size(), lines.size() * 8);
  for (const auto& tokenizer : {json, txt}) {
    for (size_t i = 0; i < lines.size(); ++i) {
      EncodeOptions options;
      if (i % 2) options.pair = lines[0];
      const Encoding encoding = tokenizer->encode(lines[i], options);
      ASSERT_EQ(format("{:08x}", fnv(packed(encoding))), sums.substr(i * 8, 8)) << lines[i] << "\n" << shown(encoding, *tokenizer);
    }
  }
}

}  // namespace
}  // namespace clearhead::text
