// BERT, DistilBERT, RoBERTa and RoFormer against the library, an encoder as a part of a network, and config.json.
#include <gtest/gtest.h>

#include "clearhead/nn.h"
#include "golden.h"
#include "tensor/convert.h"

namespace clearhead {
namespace {

class BertGolden : public testing::TestWithParam<const char*> {};
TEST_P(BertGolden, HiddenStatesMapsAndLogitsMatchTransformers) { expect_golden("bert", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, BertGolden,
                         testing::Values("mlm", "classify", "tokens", "answers", "own_decoder", "pooler", "pretraining"), variant_name);

class DistilbertGolden : public testing::TestWithParam<const char*> {};
TEST_P(DistilbertGolden, HiddenStatesMapsAndLogitsMatchTransformers) { expect_golden("distilbert", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, DistilbertGolden, testing::Values("mlm", "classify", "answers"), variant_name);

class RobertaGolden : public testing::TestWithParam<const char*> {};
TEST_P(RobertaGolden, HiddenStatesMapsAndLogitsMatchTransformers) { expect_golden("roberta", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, RobertaGolden, testing::Values("mlm", "classify", "answers"), variant_name);

class RoformerGolden : public testing::TestWithParam<const char*> {};
TEST_P(RoformerGolden, HiddenStatesMapsAndLogitsMatchTransformers) { expect_golden("roformer", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, RoformerGolden, testing::Values("mlm", "classify", "tokens"), variant_name);

// nn::Encoder, with which a network reads words (hierarchical_attention's "encoder"), against what load() makes of the same file.
TEST(NnEncoder, HiddenStatesMatchTheLoadedModelAloneAndInGroups) {
  const Golden golden("bert", "mlm");
  const io::SafeTensors file = io::SafeTensors::open_model(golden.directory);
  Parameters parameters;
  const nn::Encoder encoder({parameters, "words"}, {.vocabulary = golden.facts.vocabulary,
                                                    .longest = golden.facts.longest,
                                                    .width = golden.facts.width,
                                                    .layers = golden.facts.layers,
                                                    .heads = golden.facts.heads,
                                                    .mlp_width = golden.facts.mlp_width});
  for (const Parameters::Named& one : parameters.named()) {
    const std::string name = nn::Encoder::name_in_bert(one.name.substr(std::string("words.").size()));
    ASSERT_TRUE(file.contains("bert." + name)) << one.name << ": " << name;
    Tensor values = one.values;
    convert(file.get("bert." + name), values);
  }
  Batch tokens = golden.all();
  tokens.type_ids.clear();
  const Tensor expected = load(golden.directory, {.tokenizer = false})->run(tokens).hidden;
  ASSERT_LT(tokens.lengths[1], tokens.length) << "one of the sequences is padded";
  const Layout layout{tokens.batch, tokens.length, tokens.lengths};
  Compute compute;
  KeepAll kept;
  Compute observed({.observer = &kept});
  const Tensor alone = encoder(compute, tokens.ids, layout), grouped = encoder(observed, tokens.ids, layout, {1, tokens.batch});
  for (int64_t index = 0; index < tokens.batch; ++index) {
    const int64_t first = index * tokens.length, length = tokens.lengths[static_cast<size_t>(index)];
    const Tensor rows = cut(expected, index, length).reshape({length, golden.facts.width});
    EXPECT_LE(difference(alone.slice(0, first, first + length), rows), tolerance::kHidden) << "sequence " << index;
    EXPECT_LE(difference(grouped.slice(0, first, first + length), rows), tolerance::kHidden) << "grouped, sequence " << index;
  }
  ASSERT_EQ(static_cast<int64_t>(kept.taken.size()), golden.facts.layers);
  const AttentionMap map(kept.taken[0].record);
  const int64_t all = tokens.lengths[0] + tokens.lengths[1];
  EXPECT_EQ(map.shape().queries, all);
  const std::vector<float> row = map.head(0, 0).row(0).weights();
  EXPECT_EQ(std::count(row.begin(), row.end(), 0.0F), all - tokens.lengths[0]) << "a token sees its own sequence";
}

TEST(NnEncoder, HasNoBertNameForOtherParameters) {
  EXPECT_EQ(nn::Encoder::name_in_bert("layers.11.attention.output.weight"), "encoder.layer.11.attention.output.dense.weight");
  EXPECT_EQ(nn::Encoder::name_in_bert("layers.0.pool.weight"), "");
  EXPECT_EQ(nn::Encoder::name_in_bert("layers.0"), "");
  EXPECT_EQ(nn::Encoder::name_in_bert("classifier.weight"), "");
}

TEST(BertConfig, RefusesUnsupportedFieldsByName) {
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"position_embedding_type": "relative_key"})"),
            "config.json: \"position_embedding_type\": \"relative_key\" is not supported; expected absolute (model: bert)");
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"is_decoder": true})"),
            "config.json: \"is_decoder\": true is not supported; expected false (model: bert)");
  EXPECT_EQ(
      refusal_of("bert", "mlm", R"({"attention_window": 256})"),
      "config.json: field \"attention_window\" (256) is not known for models of type \"bert\" and may change what the model computes; "
      "remove it if it does not, or use a version of clearhead that knows it");
  EXPECT_EQ(
      refusal_of("bert", "mlm", R"({"hidden_act": "quick_gelu"})"),
      "config.json: \"hidden_act\": activation \"quick_gelu\" is not supported; expected one of: gelu, gelu_new, relu, sigmoid, silu, tanh "
      "(model: bert)");
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"num_attention_heads": 5})"),
            "config.json: \"num_attention_heads\": 5 is not supported: it does not divide hidden_size 24 (model: bert)");
}

TEST(RoformerConfig, RefusesUnsupportedFieldsByName) {
  EXPECT_EQ(refusal_of("roformer", "mlm", R"({"rotary_value": true})"),
            "config.json: \"rotary_value\": true is not supported; expected false (model: roformer)");
  EXPECT_NE(refusal_of("roformer", "mlm", R"({"embedding_size": 16})").find("\"embedding_size\": 16 is not supported"), std::string::npos);
}

TEST(BertConfig, AHeadForAnswersHasTwoOutputsAndItsSettings) {
  EXPECT_EQ(
      refusal_of("bert", "answers", R"({"id2label": {"0": "a", "1": "b", "2": "c"}})"),
      "config.json: \"id2label\": an object is not supported: a question answering head has two outputs, start and end (model: bert)");
  EXPECT_EQ(refusal_of("bert", "answers", R"({"answers": {"window": 0}})"),
            "config.json: \"answers.window\": expected an integer of 1 or more, found 0");
  EXPECT_EQ(refusal_of("bert", "answers", R"({"answers": {"window": 128, "overlap": 16, "longest": 8, "threshold": -1.5}})"), "");
}

TEST(ProblemTypes, UnknownOnesAreRefused) {
  EXPECT_EQ(
      refusal_of("bert", "classify", R"({"problem_type": "ranking"})"),
      "config.json: \"problem_type\": expected single_label_classification, multi_label_classification or regression, found \"ranking\"");
}

TEST(BertConfig, LetsFieldsPassThatAreHarmlessOrOff) {
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"language": "english", "gradient_checkpointing": true, "attention_window": null,
                                          "use_entropy": false, "extra": 0, "adapters": {}})"),
            "");
}

TEST(ModelTypes, UnknownOnesAreRefusedWithTheListOfKnownOnes) {
  EXPECT_EQ(refusal_of("bert", "mlm", R"({"model_type": "mamba"})")
                .find("config.json: \"model_type\": \"mamba\" is not supported; expected one of: bert, "),
            0U);
}

}  // namespace
}  // namespace clearhead
