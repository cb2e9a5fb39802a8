// GPT-2: scales, maps and config.json.
#include <gtest/gtest.h>

#include "golden.h"

namespace clearhead {
namespace {

class Gpt2Golden : public testing::TestWithParam<const char*> {};

TEST_P(Gpt2Golden, ScalesOfEveryLayerMatchTransformers) {
  const Golden golden("gpt2", GetParam());
  for (int64_t layer = 0; layer < golden.facts.layers; ++layer) {
    const auto scale = static_cast<float>(golden.facts.attention_of(layer).scale.value_or(0));
    EXPECT_FLOAT_EQ(scale, golden.tensor("scale", layer).data<float>()[0]);
  }
}

TEST_P(Gpt2Golden, MapsFromGoldenQueriesAndKeysMatchTransformers) { expect_maps_of_given_queries("gpt2", GetParam()); }

INSTANTIATE_TEST_SUITE_P(Variants, Gpt2Golden, testing::Values("plain", "flags", "unscaled", "bare", "classify", "sharded", "f16"),
                         variant_name);

TEST(Gpt2Config, RefusesUnsupportedFieldsByName) {
  EXPECT_EQ(refusal_of("gpt2", "plain", R"({"add_cross_attention": true})"),
            "config.json: \"add_cross_attention\": true is not supported; expected false (model: gpt2)");
  EXPECT_EQ(refusal_of("gpt2", "plain", R"({"n_head": 3})"),
            "config.json: \"n_head\": 3 is not supported: it does not divide n_embd 16 (model: gpt2)");
  EXPECT_EQ(
      refusal_of("gpt2", "plain", R"({"activation_function": "swish_glu"})"),
      "config.json: \"activation_function\": activation \"swish_glu\" is not supported; expected one of: gelu, gelu_new, relu, sigmoid, "
      "silu, tanh "
      "(model: gpt2)");
  EXPECT_EQ(refusal_of("gpt2", "plain", R"({"attn_logit_softcapping": 50.0})"),
            "config.json: field \"attn_logit_softcapping\" (50.0) is not known for models of type \"gpt2\" and may change what the model "
            "computes; "
            "remove it if it does not, or use a version of clearhead that knows it");
  EXPECT_EQ(
      refusal_of("gpt2", "plain", R"({"architectures": ["GPT2ForQuestionAnswering"]})"),
      "config.json: \"architectures\": an array of 1 is not supported: models of this type have no question answering head (model: gpt2)");
}

TEST(Gpt2Config, ReadsAnOlderCheckpointWithoutTodaysFields) {
  EXPECT_EQ(
      refusal_of("gpt2", "plain", R"({"n_ctx": 40, "n_inner": null, "task_specific_params": {"text-generation": {"do_sample": true}}})"),
      "");
}

}  // namespace
}  // namespace clearhead
