#include <gtest/gtest.h>

#include "golden.h"

namespace clearhead {
namespace {

class BertGolden : public testing::TestWithParam<const char*> {};
TEST_P(BertGolden, HiddenStatesMapsAndLogitsAreThoseOfTheLibrary) { expect_golden("bert", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, BertGolden, testing::Values("mlm", "classify", "tokens", "answers", "pooler", "pretraining"),
                         variant_name);

class DistilbertGolden : public testing::TestWithParam<const char*> {};
TEST_P(DistilbertGolden, HiddenStatesMapsAndLogitsAreThoseOfTheLibrary) { expect_golden("distilbert", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, DistilbertGolden, testing::Values("mlm", "classify", "answers"), variant_name);

class RobertaGolden : public testing::TestWithParam<const char*> {};
TEST_P(RobertaGolden, HiddenStatesMapsAndLogitsAreThoseOfTheLibrary) { expect_golden("roberta", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, RobertaGolden, testing::Values("mlm", "classify", "answers"), variant_name);

TEST(BertConfig, RefusesByNameWhatItCannotSay) {
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"position_embedding_type": "relative_key"})"),
            "config.json: \"position_embedding_type\": \"relative_key\" is not supported; understood: absolute (model: bert)");
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"is_decoder": true})"),
            "config.json: \"is_decoder\": true is not supported; understood: false (model: bert)");
  EXPECT_EQ(
      refusal_of("bert", "mlm", R"({"attention_window": 256})"),
      "config.json: field \"attention_window\" (256) is not understood for models of type \"bert\" and may change what attention computes; "
      "remove it if it does not, or use a version of clearhead that knows it");
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"hidden_act": "quick_gelu"})"),
            "config.json: \"hidden_act\": activation \"quick_gelu\" is not supported; known are gelu, gelu_new, relu, sigmoid, silu, tanh "
            "(model: bert)");
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"num_attention_heads": 5})"),
            "config.json: \"num_attention_heads\": 5 is not supported: it does not divide hidden_size 24 (model: bert)");
}

TEST(BertConfig, AHeadForAnswersHasTwoOutputsAndItsSettings) {
  EXPECT_EQ(refusal_of("bert", "answers", R"({"id2label": {"0": "a", "1": "b", "2": "c"}})"),
            "config.json: \"id2label\": an object is not supported: a head for answers has two outputs, start and end (model: bert)");
  EXPECT_EQ(refusal_of("bert", "answers", R"({"answers": {"window": 0}})"),
            "config.json: \"answers.window\": expected an integer of 1 or more, found 0");
  EXPECT_EQ(refusal_of("bert", "answers", R"({"answers": {"window": 128, "overlap": 16, "longest": 8, "threshold": -1.5}})"), "");
}

TEST(ProblemTypes, UnknownOnesAreRefused) {
  EXPECT_EQ(
      refusal_of("bert", "classify", R"({"problem_type": "ranking"})"),
      "config.json: \"problem_type\": expected single_label_classification, multi_label_classification or regression, found \"ranking\"");
}

TEST(BertConfig, LetsFieldsPassThatSpeakOfNoForwardPass) {
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"my_note": "trained on a Tuesday", "gradient_checkpointing": true, "attention_window": null})"),
            "");
}

TEST(ModelTypes, UnknownOnesAreRefusedWithTheListOfKnownOnes) {
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"model_type": "mamba"})")
                .find("config.json: \"model_type\": \"mamba\" is not supported; known are bert, "),
            0U);
}

}  // namespace
}  // namespace clearhead
