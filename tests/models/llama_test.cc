// Llama and its relatives: maps, and the rotary and window fields of config.json.
#include <gtest/gtest.h>

#include "golden.h"

namespace clearhead {
namespace {

class LlamaGolden : public testing::TestWithParam<const char*> {};

TEST_P(LlamaGolden, MapsFromGoldenQueriesAndKeysMatchTransformers) { expect_maps_of_given_queries("llama", GetParam()); }

INSTANTIATE_TEST_SUITE_P(Variants, LlamaGolden,
                         testing::Values("gqa", "biases", "classify", "linear", "llama3", "llama3_older", "bf16", "mistral", "qwen2",
                                         "smollm3"),
                         variant_name);

Architecture facts_of(const char* variant) { return read_architecture(golden_config("llama", variant), "config.json"); }

TEST(LlamaConfig, ReadsRotaryFactsInBothSpellings) {
  const Architecture today = facts_of("llama3"), older = facts_of("llama3_older"), linear = facts_of("linear");
  for (const Architecture& facts : {today, older}) {
    const auto& rotary = std::get<RotaryPositions>(facts.positions);
    const auto& scaling = std::get<RotaryPositions::Llama3>(rotary.scaling);
    EXPECT_EQ(rotary.theta, 50);
    EXPECT_EQ(scaling.factor, 8);
    EXPECT_EQ(scaling.low_frequency_factor, 1);
    EXPECT_EQ(scaling.high_frequency_factor, 4);
    EXPECT_EQ(scaling.original_positions, 16);
  }
  EXPECT_EQ(std::get<RotaryPositions::Linear>(std::get<RotaryPositions>(linear.positions).scaling).factor, 3);
  EXPECT_EQ(std::get<RotaryPositions>(facts_of("biases").positions).theta, 500);
}

TEST(LlamaConfig, ReadsWindowsPerLayer) {
  EXPECT_EQ(facts_of("mistral").attention_of(0).window, 5);
  EXPECT_EQ(facts_of("qwen2").attention_of(1).window, std::nullopt);
  Json config = golden_config("llama", "qwen2");
  config["use_sliding_window"] = true;
  config["sliding_window"] = 4;
  config["layer_types"] = Json(Json::Array{Json("full_attention"), Json("sliding_attention")});
  const Architecture facts = read_architecture(config, "config.json");
  EXPECT_EQ(facts.attention_of(0).window, std::nullopt);
  EXPECT_EQ(facts.attention_of(1).window, 4);
}

TEST(LlamaConfig, ReadsRotaryAndWindowedLayersOfSmolLm3) {
  const auto pattern = [](const Json& config) {
    std::string out;
    const Architecture facts = read_architecture(config, "config.json");
    for (int64_t layer = 0; layer < facts.layers; ++layer) {
      const AttentionFacts& of = facts.attention_of(layer);
      out += std::string(of.turns ? "t" : "-") + (of.window ? "w " : "  ");
    }
    return out;
  };
  Json config = golden_config("llama", "smollm3");
  EXPECT_EQ(pattern(config), "t  -w ");
  const auto without = [&](const char* name) { std::erase_if(config.fields(), [&](const auto& field) { return field.first == name; }); };
  config["no_rope_layers"] = Json(Json::Array{Json(0), Json(1)});
  EXPECT_EQ(pattern(config), "-  tw ");
  without("layer_types");  // without it, the layers without rotary positions have a window
  EXPECT_EQ(pattern(config), "-w t  ");
  without("no_rope_layers");
  config["no_rope_layer_interval"] = 2;
  EXPECT_EQ(pattern(config), "t  -w ");
  config["use_sliding_window"] = false;
  EXPECT_EQ(pattern(config), "t  -  ");
  EXPECT_EQ(refusal_of("llama", "smollm3", R"({"no_rope_layers": [1, 2]})"),
            "config.json: \"no_rope_layers\": an array of 2 is not supported: expected a 0 or 1 for each of 2 layers (model: smollm3)");
}

TEST(LlamaConfig, MistralWithoutAWindowFieldUsesTheDefaultWindow) {
  Json config = golden_config("llama", "mistral");
  auto& fields = config.fields();
  std::erase_if(fields, [](const auto& field) { return field.first == "sliding_window"; });
  EXPECT_EQ(read_architecture(config, "config.json").attention_of(0).window, 4096);
}

TEST(LlamaConfig, FieldsThatAreLeftOutAreWhatTheLibraryAssumes) {
  const auto facts_without = [](const char* variant, std::vector<std::string> names) {
    Json config = golden_config("llama", variant);
    config["num_attention_heads"] = 32;
    config["hidden_size"] = 64;
    std::erase_if(config.fields(), [&](const auto& field) { return std::find(names.begin(), names.end(), field.first) != names.end(); });
    return read_architecture(config, "config.json");
  };
  const std::vector<std::string> names = {"num_key_value_heads", "max_position_embeddings", "head_dim", "tie_word_embeddings"};
  const Architecture llama = facts_without("gqa", names), mistral = facts_without("mistral", names), qwen = facts_without("qwen2", names);
  EXPECT_EQ(llama.key_heads, 32);
  EXPECT_EQ(mistral.key_heads, 8);
  EXPECT_EQ(qwen.key_heads, 32);
  EXPECT_EQ(llama.longest, 2048);
  EXPECT_EQ(mistral.longest, 131072);
  EXPECT_EQ(qwen.longest, 32768);
  EXPECT_FALSE(qwen.causal->is_tied);
  Json config = golden_config("llama", "qwen2");
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 1;
  std::erase_if(config.fields(), [](const auto& field) { return field.first == "sliding_window" || field.first == "layer_types"; });
  const Architecture windowed = read_architecture(config, "config.json");
  EXPECT_EQ(windowed.attention_of(0).window, std::nullopt);
  EXPECT_EQ(windowed.attention_of(1).window, 4096);
}

TEST(LlamaConfig, UnreadLayerTypesMustAgreeWithTheModel) {
  EXPECT_EQ(refusal_of("llama", "mistral", R"({"layer_types": ["sliding_attention", "sliding_attention"]})"), "");
  EXPECT_EQ(refusal_of("llama", "mistral", R"({"layer_types": ["sliding_attention", "full_attention"]})"),
            "config.json: \"layer_types\": an array of 2 is not supported: it contradicts sliding_window, which alone "
            "decides for models of type \"mistral\" (model: mistral)");
}

TEST(LlamaConfig, RopeScalingIsReadInPlaceOfRopeParameters) {
  Json config = golden_config("llama", "gqa");
  config["rope_theta"] = 77.0;
  config["rope_scaling"] = Json::parse(R"({"type": "linear", "factor": 2.0})", "test");
  const Architecture facts = read_architecture(config, "config.json");
  const auto& rotary = std::get<RotaryPositions>(facts.positions);
  EXPECT_EQ(rotary.theta, 77);
  EXPECT_EQ(std::get<RotaryPositions::Linear>(rotary.scaling).factor, 2);
}

TEST(LlamaConfig, Llama3WithoutItsOriginalPositionsTakesThoseOfTheModel) {
  const auto original = [](const Json& config) {
    const Architecture facts = read_architecture(config, "config.json");
    return std::get<RotaryPositions::Llama3>(std::get<RotaryPositions>(facts.positions).scaling).original_positions;
  };
  Json config = golden_config("llama", "llama3_unsaid");
  EXPECT_EQ(original(config), 24);
  config["original_max_position_embeddings"] = 12;
  EXPECT_EQ(original(config), 12);
  EXPECT_EQ(refusal_of("llama", "llama3_older", R"({"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1.0}})"),
            "config.json: field \"rope_scaling.factor\" is missing");
}

TEST(LlamaConfig, RefusesOtherRotaryScalingsByName) {
  EXPECT_EQ(refusal_of("llama", "linear", R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})"),
            "config.json: \"rope_scaling\": rope type \"dynamic\" is not supported; "
            "expected default, linear or llama3 (model: llama)");
  EXPECT_EQ(refusal_of("llama", "gqa", R"({"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0}})"),
            "config.json: \"rope_parameters\": rope type \"yarn\" is not supported; "
            "expected default, linear or llama3 (model: llama)");
  EXPECT_EQ(refusal_of("llama", "llama3_older", R"({"rope_scaling": {"rope_type": "llama3", "factor": "8"}})"),
            "config.json: \"rope_scaling.factor\": expected a number, found \"8\"");
  EXPECT_EQ(refusal_of("llama", "linear", R"({"rope_scaling": {"type": "linear", "factor": 2.0, "beta_fast": 32}})"),
            "config.json: field \"rope_scaling.beta_fast\" is not understood; remove it, or use a version of clearhead that knows it");
}

TEST(LlamaConfig, RefusesUnsupportedFieldsByName) {
  EXPECT_EQ(refusal_of("llama", "gqa", R"({"sliding_window": 8})"),
            "config.json: \"sliding_window\": 8 is not supported; expected null (model: llama)");
  EXPECT_EQ(
      refusal_of("llama", "gqa", R"({"attention_multiplier": 0.5})"),
      "config.json: field \"attention_multiplier\" (0.5) is not known for models of type \"llama\" and may change what the model computes; "
      "remove it if it does not, or use a version of clearhead that knows it");
  EXPECT_EQ(refusal_of("llama", "gqa", R"({"num_key_value_heads": 3})"),
            "config.json: the sizes are inconsistent: 4 query heads are not a multiple of 3 key heads (model: llama)");
  EXPECT_EQ(refusal_of("llama", "mistral", R"({"attention_bias": true})"),
            "config.json: \"attention_bias\": true is not supported; expected false (model: mistral)");
  EXPECT_EQ(refusal_of("llama", "qwen2", R"({"layer_types": ["full_attention", "chunked_attention"]})"),
            "config.json: \"layer_types\": an array of 2 is not supported: \"chunked_attention\" is neither "
            "full_attention nor sliding_attention (model: qwen2)");
  EXPECT_EQ(refusal_of("llama", "qwen2", R"({"layer_types": ["full_attention"]})"),
            "config.json: \"layer_types\": an array of 1 is not supported: expected one entry for each of 2 layers (model: qwen2)");
  EXPECT_EQ(refusal_of("llama", "gqa", R"({"head_dim": 5})"),
            "config.json: the sizes are inconsistent: rotary embeddings rotate 5 of 5 channels; expected an even number from 2 to the "
            "head dimension (model: llama)");
}

}  // namespace
}  // namespace clearhead
