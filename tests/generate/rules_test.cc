// The rules for the next token: settings of generation_config.json give the output of transformers or are refused by name.
#include "generate/rules.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/json.h"
#include "models/golden.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

std::vector<int32_t> ids_of(const Json& list) {
  std::vector<int32_t> out;
  for (const Json& id : list.items()) out.push_back(static_cast<int32_t>(id.integer()));
  return out;
}

// A copy of a golden's model with a generation_config.json.
class ModelWithSettings {
 public:
  explicit ModelWithSettings(const std::string& golden) : folder_(testing::TempDir() + "clearhead-rules-" + std::to_string(::getpid())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/" + golden, folder_);
  }
  ~ModelWithSettings() { std::filesystem::remove_all(folder_); }
  std::shared_ptr<const Model> with(const std::string& settings, const char* file = "generation_config.json") const {
    write_file(folder_ + "/" + file, settings);
    return load(folder_, {.tokenizer = false});
  }

 private:
  std::string folder_;
};

class GenerationSettings : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, GenerationSettings, testing::Values("marian", "gpt2"));

TEST_P(GenerationSettings, AreHonouredTokenForToken) {
  const std::string path = std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/generation/" + GetParam() + ".json";
  const Json golden = Json::parse(read_file(path), path);
  const ModelWithSettings folder(golden.find("model")->string());
  const Json& prompts = *golden.find("prompts");
  ASSERT_GT(golden.find("cases")->size(), 20U);
  for (const Json& item : golden.find("cases")->items()) {
    const Json& settings = *item.find("settings");
    SCOPED_TRACE(settings.dump());
    const auto model = folder.with(settings.dump());
    for (size_t at = 0; at < prompts.size(); ++at) {
      const std::vector<int32_t> prompt = ids_of(prompts.items()[at]);
      int64_t longest = golden.find("max_tokens")->integer();
      if (model->info().encoder_layers > 0) {
        longest = default_max_tokens(*model, longest);
      } else if (settings.find("max_new_tokens")) {
        longest = settings.find("max_new_tokens")->integer();
      }
      GenerateOptions options{.max_tokens = longest, .beams = default_beams(*model)};
      if (model->info().encoder_layers == 0 && settings.find("max_length")) {
        options.max_length = default_max_length(*model);
        options.max_tokens = *options.max_length;
      }
      const Generated made = generate(*model, prompt, options);
      EXPECT_EQ(made.ids, ids_of(item.find("tokens")->items()[at])) << "prompt " << at;
      if (const Json& scores = *item.find("scores"); scores.size() > 0) {
        const double expected = scores.items()[at].number();
        EXPECT_NEAR(made.score, expected, tolerance::kHidden * std::max(1.0, std::abs(expected)));
      }
    }
  }
}

TEST(GenerationSettings, InConfigJsonApplyOnlyWithoutAGenerationConfig) {
  const ModelWithSettings folder("gpt2/plain");
  Json config = golden_config("gpt2", "plain");
  config["repetition_penalty"] = 3.0;
  config["num_beams"] = 5;
  const auto alone = folder.with(config.dump(), "config.json");
  EXPECT_EQ(default_rules(*alone).repetition_penalty, 3);
  EXPECT_EQ(default_beams(*alone).count, 5);
  const auto beside = folder.with("{}");
  EXPECT_EQ(default_rules(*beside).repetition_penalty, 1);
  EXPECT_EQ(default_beams(*beside).count, 1);
}

// The expected ids are GenerationConfig.eos_token_id as transformers 5.24 loads it from the same files.
TEST(GenerationSettings, TheEndTokenIsThatOfOneFile) {
  const ModelWithSettings folder("gpt2/plain");
  using Ids = std::vector<int32_t>;
  Json config = golden_config("gpt2", "plain");
  config["eos_token_id"] = 7;
  EXPECT_EQ(end_tokens(*folder.with(config.dump(), "config.json")), Ids{7});
  EXPECT_EQ(end_tokens(*folder.with("{}")), Ids{});
  EXPECT_EQ(end_tokens(*folder.with(R"({"eos_token_id": null})")), Ids{});
  EXPECT_EQ(end_tokens(*folder.with(R"({"eos_token_id": [5, 6]})")), (Ids{5, 6}));
  const ModelWithSettings without("gpt2/plain");
  config["eos_token_id"] = Json();
  EXPECT_EQ(end_tokens(*without.with(config.dump(), "config.json")), Ids{});
}

TEST(GenerationSettings, APromptAsLongAsMaxLengthIsRefused) {
  const ModelWithSettings folder("gpt2/plain");
  const auto model = folder.with(R"({"max_length": 3})");
  GenerateOptions options{.max_length = default_max_length(*model)};
  EXPECT_EQ(generate(*model, std::vector<int32_t>{5, 6}, options).ids.size(), 1U);
  const char* expected = "the prompt has 3 tokens, but \"max_length\" allows 3 including new tokens";
  expect_refused(ErrorCode::kTooLong, expected, [&] { (void)generate(*model, std::vector<int32_t>{5, 6, 7}, options); });
  options.beams.count = 2;
  EXPECT_EQ(generate(*model, std::vector<int32_t>{5, 6}, options).ids.size(), 1U);
  expect_refused(ErrorCode::kTooLong, expected, [&] { (void)generate(*model, std::vector<int32_t>{5, 6, 7}, options); });
}

TEST(GenerationSettings, UnsupportedSettingsAreRefusedByName) {
  const ModelWithSettings folder("marian/searched");
  const auto message = [&](const std::string& settings) {
    std::string text = "no error";
    try {
      (void)generate(*folder.with(settings), {5, 6, 7});
    } catch (const Error& error) {
      text = error.what();
    }
    return text.substr(text.rfind('/') + 1);
  };
  EXPECT_EQ(message(R"({"penalty_alpha": 0.6})"),
            "generation_config.json: \"penalty_alpha\": 0.6 is not supported and changes the generated text; remove it to generate "
            "without it");
  EXPECT_EQ(message(R"({"num_beam_groups": 2})").substr(0, 50), "generation_config.json: \"num_beam_groups\": 2 is no");
  EXPECT_EQ(message(R"({"do_sample": true})"),
            "generation_config.json: \"do_sample\": true is not supported for encoder-decoder models; expected false");
  EXPECT_EQ(message(R"({"repetition_penalty": 0})"), "generation_config.json: repetition_penalty: expected a positive number, found 0");
  EXPECT_EQ(message(R"({"no_repeat_ngram_size": "two"})"),
            "generation_config.json: \"no_repeat_ngram_size\": expected a whole number of 0 or more, found \"two\"");
  EXPECT_EQ(message(R"({"bad_words_ids": [3]})"), "generation_config.json: \"bad_words_ids\": expected token ids, found 3");
  EXPECT_EQ(message(R"({"num_beam_groups": 1, "diversity_penalty": 0.0, "guidance_scale": 1.0, "renormalize_logits": false})"), "no error");
}

TEST(LogitRules, ThePenaltyIsAppliedOnceToATokenHoweverOftenItWasSeen) {
  std::vector<float> once = {1, 3, 2, -1, 0}, twice = once;
  const LogitRules rules({.repetition_penalty = 2}, {});
  rules.apply({1, 3}, once.data(), 5);
  rules.apply({1, 1, 3, 3, 1}, twice.data(), 5);
  EXPECT_EQ(once, (std::vector<float>{1, 1.5, 2, -2, 0}));
  EXPECT_EQ(once, twice);
}

TEST(LogitRules, TokensOutsideTheVocabularyChangeNothing) {
  std::vector<float> scores = {1, 3, 2};
  const LogitRules rules({.repetition_penalty = 2, .bad_words_ids = {{7}}, .suppress_tokens = {9}, .begin_suppress_tokens = {1}},
                         {.prompt_tokens = 1});
  rules.apply({8}, scores.data(), 3);
  EXPECT_EQ(scores, (std::vector<float>{1, kBanned, 2}));
}

TEST(LogitRules, ApplyToGreedyDecoding) {
  const auto model = load(golden_directory("gpt2", "plain"), {.tokenizer = false});
  const std::vector<int32_t> prompt = {7, 8, 9};
  const Generated free = generate(*model, prompt, {.max_tokens = 10});
  const Generated made = generate(*model, prompt, {.max_tokens = 10, .rules = GenerationRules{.no_repeat_ngram_size = 1}});
  std::vector<int32_t> all = made.ids;
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_NE(free.ids, made.ids);
}

TEST(LogitRules, ThatLeaveNoTokenAreRefused) {
  const auto model = load(golden_directory("gpt2", "plain"), {.tokenizer = false});
  std::vector<int32_t> all;
  for (int32_t id = 0; id < 67; ++id) all.push_back(id);
  expect_refused(ErrorCode::kInvalidArgument, "leave no token", [&] {
    (void)generate(*model, {7, 8}, {.rules = GenerationRules{.suppress_tokens = all}});
  });
}

}  // namespace
}  // namespace clearhead
