// Models of type clearhead-attention: the fields of config.json, and exact position phases.
#include <gtest/gtest.h>

#include "golden.h"
#include "models/phases.h"

namespace clearhead {
namespace {

Json small_config() {
  return Json::parse(R"({"model_type": "clearhead-attention", "vocab_size": 5, "hidden_size": 4, "num_hidden_layers": 1,
                         "num_attention_heads": 2, "head_dim": 3, "position_frequencies": [0.5, 1.25]})",
                     "config.json");
}

std::string refusal(const std::string& changes) {
  Json config = small_config();
  const Json changed = Json::parse(changes, "changes");
  for (const auto& [name, value] : changed.fields()) config[name] = value;
  try {
    read_architecture(config, "config.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ClearheadAttentionConfig, UsesDefaultsForAbsentFields) {
  const Architecture facts = read_architecture(small_config(), "config.json");
  EXPECT_FALSE(facts.attention_of(0).causal);
  EXPECT_FALSE(facts.attention_of(0).scale.has_value());
  EXPECT_TRUE(facts.attention_of(0).operands.empty());
  EXPECT_EQ(facts.longest, 0);
  EXPECT_EQ(facts.layer.mlp.kind, MlpFacts::Kind::kNone);
  EXPECT_FALSE(facts.causal.has_value());
}

TEST(ClearheadAttentionConfig, RefusesUnsupportedFieldsByName) {
  EXPECT_EQ(refusal(R"({"position_frequencies": 3})"),
            "config.json: \"position_frequencies\": 3 is not supported: expected a list of numbers (model: clearhead-attention)");
  EXPECT_EQ(
      refusal(R"({"position_frequencies": [1, "2"]})"),
      "config.json: \"position_frequencies\": an array of 2 is not supported: \"2\" is not a finite number (model: clearhead-attention)");
  EXPECT_EQ(refusal(R"({"sliding_window": 7})"),
            "config.json: field \"sliding_window\" (7) is not known for models of type \"clearhead-attention\" and may change what the "
            "model computes; "
            "remove it if it does not, or use a version of clearhead that knows it");
  EXPECT_EQ(
      refusal(R"({"windows": [7, 7]})"),
      "config.json: \"windows\": an array of 2 is not supported: expected one entry for each of 1 layers (model: clearhead-attention)");
  EXPECT_EQ(refusal(R"({"windows": [0], "causal": true})"),
            "config.json: \"windows\": an array of 1 is not supported: 0 is not a number of keys; expected a positive integer or null "
            "(model: clearhead-attention)");
  EXPECT_EQ(
      refusal(R"({"windows": [7]})"),
      "config.json: \"windows\": an array of 1 is not supported: windows are supported only in causal models (model: clearhead-attention)");
  EXPECT_EQ(refusal(R"({"head_dim": 0})"), "config.json: \"head_dim\": expected an integer from 1 to 2147483647, found 0");
}

TEST(Phases, AreExactAtPositionsInTheBillions) {
  const Tensor rows = phase_rows({0.5, 1.25}, {0, 3, 2'000'000'000});
  ASSERT_EQ(rows.shape(), (Shape{3, 4}));
  const float* at = rows.data<float>();
  const std::vector<float> expected = {1,
                                       0,
                                       1,
                                       0,
                                       static_cast<float>(std::cos(1.5)),
                                       static_cast<float>(std::sin(1.5)),
                                       static_cast<float>(std::cos(3.75)),
                                       static_cast<float>(std::sin(3.75)),
                                       static_cast<float>(std::cos(1e9)),
                                       static_cast<float>(std::sin(1e9)),
                                       static_cast<float>(std::cos(2.5e9)),
                                       static_cast<float>(std::sin(2.5e9))};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_FLOAT_EQ(at[i], expected[i]) << i;
}

}  // namespace
}  // namespace clearhead
