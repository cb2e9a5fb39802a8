// The settings files of sentence-transformers in a model folder change the embedding as they do in the library.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "clearhead/answers.h"
#include "golden.h"

namespace clearhead {
namespace {

constexpr const char* kTokenizer = R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
  {"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
  "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "query": 2, ":": 3, "hello": 4, "Hello": 5, "world": 6, "World": 7, "İ": 8}}})";

class Sentences : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(golden_directory("bert", "pooler"), folder_);
    write("tokenizer.json", kTokenizer);
    write("modules.json", R"([{"path": "", "type": "sentence_transformers.models.Transformer"},
                              {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])");
    pooling(R"({"pooling_mode_mean_tokens": true})");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) const { write_file(folder_ + "/" + name, text); }
  void pooling(const std::string& text) const {
    std::filesystem::create_directories(folder_ + "/1_Pooling");
    write("1_Pooling/config.json", text);
  }
  std::vector<float> vector_of(const std::string& text) const { return embed(*load(folder_), text).values; }
  std::string refusal() const {
    try {
      (void)vector_of("hello");
    } catch (const Error& error) {
      const std::string text = error.what();
      return text.substr(text.rfind('/') + 1);
    }
    return "";
  }

  const std::string folder_ = testing::TempDir() + "clearhead-sentence-" + std::to_string(::getpid());
};

TEST_F(Sentences, VectorsUnderEverySettingMatchSentenceTransformers) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/sentences.json";
  const Json golden = Json::parse(read_file(path), path);
  ASSERT_GT(golden.find("cases")->size(), 5U);
  for (const Json& item : golden.find("cases")->items()) {
    SetUp();
    for (const auto& [name, value] : item.find("files")->fields()) write(name, value.dump());
    SCOPED_TRACE(item.find("files")->dump());
    const auto model = load(folder_);
    for (size_t at = 0; at < golden.find("texts")->size(); ++at) {
      const std::vector<float> found = embed(*model, golden.find("texts")->items()[at].string()).values;
      const Json& expected = item.find("vectors")->items()[at];
      ASSERT_EQ(found.size(), expected.size());
      for (size_t c = 0; c < found.size(); ++c) EXPECT_NEAR(found[c], expected.items()[c].number(), tolerance::kHidden) << at << ", " << c;
    }
  }
}

TEST_F(Sentences, DoLowerCaseLowersTheTextInFrontOfTheTokenizer) {
  const std::vector<float> lower = vector_of("hello world"), upper = vector_of("Hello World");
  EXPECT_NE(lower, upper);
  write("sentence_bert_config.json", R"({"max_seq_length": 10, "do_lower_case": true})");
  EXPECT_EQ(vector_of("Hello World"), lower);
  EXPECT_EQ(load(folder_)->tokenizer().encode("Hello").ids, std::vector<int32_t>{5}) << "other tasks read the text as it is";
  EXPECT_EQ(embed_all(*load(folder_), {"Hello World"})[0].values, lower);
}

TEST_F(Sentences, TheDefaultPromptStandsInFrontOfEveryText) {
  const std::vector<float> with = vector_of("query: hello");
  write("config_sentence_transformers.json", R"({"prompts": {"q": "query: ", "d": ""}, "default_prompt_name": null})");
  EXPECT_EQ(vector_of("query: hello"), with) << "prompts alone are for those who ask for them";
  write("config_sentence_transformers.json", R"({"prompts": {"q": "query: ", "d": ""}, "default_prompt_name": "q"})");
  EXPECT_EQ(vector_of("hello"), with);
  EXPECT_EQ(embed_all(*load(folder_), {"hello"})[0].values, with);
  pooling(R"({"pooling_mode_mean_tokens": true, "include_prompt": false})");
  EXPECT_EQ(refusal(), "config.json: \"include_prompt\": false is not supported with a default prompt; expected true");
  write("config_sentence_transformers.json", R"({"prompts": {"q": "query: "}, "default_prompt_name": "passage"})");
  EXPECT_EQ(refusal(), "config_sentence_transformers.json: \"default_prompt_name\": \"passage\" is not one of \"prompts\"");
}

TEST_F(Sentences, WithoutAMaxSeqLengthTheTokenizersLimitCuts) {
  EXPECT_EQ(embed(*load(folder_), "hello world hello").used, 3);
  write("tokenizer_config.json", R"({"model_max_length": 2})");
  EXPECT_EQ(embed(*load(folder_), "hello world hello").used, 2);
  write("sentence_bert_config.json", R"({"max_seq_length": 1})");
  EXPECT_EQ(embed(*load(folder_), "hello world hello").used, 1);
}

TEST_F(Sentences, PoolingOfAnUnknownKindIsRefusedBesideAKnownOne) {
  pooling(R"({"pooling_mode_mean_tokens": true, "pooling_mode_weightedmean_tokens": true})");
  EXPECT_NE(refusal().find("2 pooling modes are enabled"), std::string::npos);
}

}  // namespace
}  // namespace clearhead
