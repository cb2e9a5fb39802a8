// AttentionSpec: its operands, its JSON form, and validation.
#include "clearhead/spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "clearhead/error.h"
#include "refused.h"
#include "spec/visible.h"

namespace clearhead {
namespace {

constexpr AttentionShape kShape = {.batch = 2, .heads = 4, .key_heads = 2, .queries = 5, .keys = 7, .d_k = 8, .d_v = 6};

std::string refusal(const AttentionSpec& spec, const AttentionShape& shape = kShape) {
  return error_of([&] { validate(spec, shape); });
}

std::string reading_error(const std::string& text) {
  return error_of([&] { spec_from_json(text, "spec.json", [](const std::string&) { return Tensor(); }); });
}

// Blocks of 2 queries by 3 keys: three query blocks, three key blocks.
BlockSparse lists_of(const std::vector<int32_t>& offsets, const std::vector<int32_t>& keys) {
  return {2, 3, Tensor::from(offsets, {1, 1, static_cast<int64_t>(offsets.size())}),
          Tensor::from(keys, {1, 1, static_cast<int64_t>(keys.size())})};
}

AttentionSpec everything() {
  AttentionSpec spec;
  spec.score = Dot{0.1f};
  spec.terms = {Alibi{Tensor::zeros({4})},
                SoftCap{30},
                AttentionBias{Tensor::zeros({1, 4, 5, 7})},
                Alibi{Tensor::zeros({4})},
                AttentionBias{Tensor::zeros({2, 1, 1, 7})},
                EdgeBias{Tensor::zeros({2, 1, 3})}};
  spec.topology = causal(3);
  spec.topology.segments = Segments{Tensor::zeros({1, 5}, DType::kI32), Tensor::zeros({2, 7}, DType::kI32)};
  spec.topology.mask = Mask{Tensor::zeros({2, 1, 5, 7}, DType::kBool)};
  spec.topology.block_sparse = lists_of({0, 2, 3, 3}, {0, 2, 1});
  spec.normaliser = Softmax{Tensor::zeros({4})};
  return spec;
}

TEST(Spec, OperandsAreListedOnceEachInAFixedOrder) {
  std::string names;
  for_each_operand(everything(), [&](const std::string& name, const Tensor&) { names += name + " "; });
  EXPECT_EQ(names, "slopes bias slopes2 bias2 edges segments.queries segments.keys mask block_sparse.offsets block_sparse.keys sinks ");
}

TEST(Spec, JsonHasTheDocumentedForm) {
  AttentionSpec spec;
  spec.terms = {Alibi{}, SoftCap{30}, AttentionBias{}};
  spec.topology = causal();
  spec.topology.mask = Mask{};
  spec.normaliser = Softmax{Tensor()};
  EXPECT_EQ(
      to_json(spec),
      R"({"score":{"dot":{"scale":null}},"terms":[{"alibi":{"slopes":"slopes"}},{"soft_cap":{"cap":30.0}},{"attention_bias":{"bias":"bias"}}],)"
      R"("topology":{"band":{"back":null,"ahead":0,"align":"end"},"mask":"mask"},"normaliser":{"softmax":{"sinks":"sinks"}}})");
  EXPECT_EQ(
      to_json({}),
      R"({"score":{"dot":{"scale":null}},"terms":[],"topology":{"band":{"back":null,"ahead":null,"align":"end"}},"normaliser":{"softmax":{}}})");
}

TEST(Spec, JsonReadsBackToTheSameDescription) {
  const AttentionSpec spec = everything();
  std::string asked;
  const AttentionSpec back = spec_from_json(to_json(spec), "spec.json", [&](const std::string& name) {
    asked += name + " ";
    return Tensor::zeros({1});
  });
  EXPECT_EQ(to_json(back), to_json(spec));
  EXPECT_EQ(asked, "slopes bias slopes2 bias2 edges segments.queries segments.keys mask block_sparse.offsets block_sparse.keys sinks ");
  EXPECT_EQ(back.topology.block_sparse->query_block, 2);
  EXPECT_EQ(back.topology.block_sparse->key_block, 3);
  EXPECT_EQ(std::get<Dot>(back.score).scale, 0.1f);
  EXPECT_EQ(back.topology.band.back, 3);
}

TEST(Spec, AdditiveAndRelativeScoresRoundTripAndInvalidOnesAreRefused) {
  for (const auto& [activation, text] :
       {std::pair(Additive::Activation::kTanh, R"({"additive":{"weight":"additive.weight","activation":"tanh"}})"),
        std::pair(Additive::Activation::kLeakyRelu,
                  R"({"additive":{"weight":"additive.weight","activation":"leaky_relu","slope":0.3}})")}) {
    const AttentionSpec spec{.score = Additive{.weight = Tensor::zeros({1, 8}), .activation = activation, .slope = 0.3f},
                             .terms = {Alibi{Tensor::zeros({4})}}};
    EXPECT_NE(to_json(spec).find(std::string(R"({"score":)") + text), std::string::npos) << to_json(spec);
    std::string asked;
    const AttentionSpec back = spec_from_json(to_json(spec), "spec.json", [&](const std::string& name) {
      asked += name + " ";
      return Tensor::zeros({1, 8});
    });
    EXPECT_EQ(to_json(back), to_json(spec));
    EXPECT_EQ(asked, "additive.weight slopes ");
  }
  const Relative relative{.keys = Tensor::zeros({1, 5, 8}), .query_bias = Tensor::zeros({4, 8}), .values = Tensor::zeros({4, 5, 6})};
  EXPECT_EQ(refusal({.score = relative}), "no error");
  const std::string text = to_json({.score = relative});
  EXPECT_NE(
      text.find(
          R"("score":{"relative":{"scale":null,"keys":"relative.keys","query_bias":"relative.query_bias","values":"relative.values"}})"),
      std::string::npos)
      << text;
  EXPECT_EQ(to_json(spec_from_json(text, "spec.json", [](const std::string&) { return Tensor::zeros({1, 5, 8}); })), text);
  EXPECT_EQ(refusal({.score = Relative{.keys = Tensor::zeros({1, 4, 8})}}),
            "kShape: attention: operand \"relative.keys\" has 4 rows; expected 2*reach + 1: offsets from -reach to reach");
  EXPECT_EQ(refusal({.score = Relative{.keys = Tensor::zeros({1, 5, 8}), .queries = Tensor::zeros({1, 3, 8})}}),
            "kShape: attention: operand \"relative.queries\": expected f32 [head|1, 2*reach + 1, d_k] = [4|1, 5, 8], found f32 [1, 3, 8]");
  EXPECT_EQ(reading_error(R"({"score":{"relative":{}}})"), "kFormat: spec.json: field \"score.relative.keys\" is missing");
  EXPECT_EQ(reading_error(R"({"score":{"additive":{"weight":"w","activation":"relu"}}})"),
            "kFormat: spec.json: \"score.additive.activation\": expected \"tanh\" or \"leaky_relu\", found \"relu\"");
  EXPECT_EQ(refusal({.score = Additive{.weight = Tensor::zeros({3, 8})}}),
            "kShape: attention: operand \"additive.weight\": expected f32 [head|1, d_k] = [4|1, 8], found f32 [3, 8]");
  EXPECT_EQ(refusal({.score = Additive{.weight = Tensor::zeros({4, 8}), .slope = std::numeric_limits<float>::infinity()}}),
            "kInvalidArgument: attention: score.additive.slope is inf; expected a finite number");
}

TEST(Spec, NormalisersDropoutHeadMaskAndGaussianRoundTripThroughJson) {
  AttentionSpec spec;
  spec.after.dropout = Dropout{.rate = 0.1f, .seed = ~uint64_t{6}};
  spec.after.head_mask = Tensor::zeros({4});
  spec.after.gaussian = LocalGaussian{.centres = Tensor::zeros({1, 4, 5}), .sigma = 2.5f};
  const Hard drawn{.choice = Hard::Choice::kSampled, .gradient = Hard::Gradient::kScoreFunction, .seed = 9};
  for (const Normaliser& normaliser : {Normaliser(Sparsemax{}), Normaliser(Entmax15{}), Normaliser(Sigmoid{-3}), Normaliser(Hard{}),
                                       Normaliser(drawn), Normaliser(LinearAttention{})}) {
    spec.normaliser = normaliser;
    EXPECT_EQ(refusal(spec), "no error");
    const std::string text = to_json(spec);
    const AttentionSpec back = spec_from_json(text, "spec.json", [](const std::string&) { return Tensor::zeros({1}); });
    EXPECT_EQ(to_json(back), text);
    EXPECT_EQ(back.after.dropout->seed, ~uint64_t{6});
  }
  spec.normaliser = drawn;
  EXPECT_NE(to_json(spec).find(R"("normaliser":{"hard":{"choice":"sampled","gradient":"score_function","seed":9}})"), std::string::npos);
  EXPECT_NE(to_json(spec).find(
                R"("after":{"dropout":{"rate":0.1,"seed":-7},"head_mask":"head_mask","gaussian":{"centres":"centres","sigma":2.5}})"),
            std::string::npos)
      << to_json(spec);
}

TEST(Spec, DropoutHeadMaskAndGaussianOutsideTheirRangeAreRefused) {
  AttentionSpec spec;
  spec.after.dropout = Dropout{.rate = 1};
  EXPECT_EQ(refusal(spec), "kInvalidArgument: attention: after.dropout.rate is 1; expected 0 or more, and less than 1");
  spec.after = {.head_mask = Tensor::from<float>({1, 0, -0.5f, 1}, {4})};
  EXPECT_EQ(refusal(spec), "kInvalidArgument: attention: after.head_mask of head 2 is -0.5; expected a finite number, 0 or more");
  spec.after = {.gaussian = LocalGaussian{.centres = Tensor::zeros({2, 3, 5}), .sigma = 1}};
  EXPECT_EQ(refusal(spec),
            "kShape: attention: operand \"centres\": expected f32 [batch|1, head|1, query] = [2|1, 4|1, 5], found f32 [2, 3, 5]");
  EXPECT_EQ(reading_error(R"({"after":{"dropout":{"rate":1.5,"seed":0}}})"),
            "kFormat: spec.json: \"after.dropout.rate\": expected a number in [0, 1), found 1.5");
  EXPECT_EQ(reading_error(R"({"normaliser":{"hard":{"choice":"best"}}})"),
            "kFormat: spec.json: \"normaliser.hard.choice\": expected \"argmax\" or \"sampled\", found \"best\"");
}

TEST(Spec, AnEmptyObjectIsPlainFullAttention) {
  const AttentionSpec spec = spec_from_json("{}", "spec.json", [](const std::string&) { return Tensor(); });
  EXPECT_EQ(to_json(spec), to_json(AttentionSpec{}));
}

TEST(Spec, UnknownFieldsAreRefusedByTheirPath) {
  EXPECT_EQ(reading_error(R"({"topology":{"band":{"back":1,"dilation":2}}})"),
            "kUnsupported: spec.json: field \"topology.band.dilation\" is not understood; remove it, or use a version of clearhead that "
            "knows it");
  EXPECT_EQ(reading_error(R"({"score":{"stick_breaking":{}}})"),
            "kUnsupported: spec.json: \"score.stick_breaking\" is not understood; this version knows dot, additive, relative");
  EXPECT_EQ(reading_error(R"({"terms":[{"soft_cap":{"cap":1}},{"bucketed":{}}]})"),
            "kUnsupported: spec.json: \"terms[1].bucketed\" is not understood; this version knows alibi, attention_bias, edge_bias, "
            "soft_cap, rule");
  EXPECT_EQ(reading_error(R"({"normaliser":{"stick_breaking":{}}})"),
            "kUnsupported: spec.json: \"normaliser.stick_breaking\" is not understood; this version knows softmax, sparsemax, entmax15, "
            "sigmoid, hard, linear_attention");
}

TEST(Spec, ABandOffsetRoundTripsThroughJson) {
  AttentionSpec spec;
  spec.topology = causal(3, Align::kStart);
  spec.topology.band.offset = -7;
  const std::string written = to_json(spec);
  EXPECT_NE(written.find(R"("band":{"back":3,"ahead":0,"align":"start","offset":-7})"), std::string::npos) << written;
  EXPECT_EQ(spec_from_json(written, "spec.json", [](const std::string&) { return Tensor(); }).topology.band.offset, -7);
}

TEST(Spec, ABandOffsetBeyondThePositionRangeIsRefused) {
  AttentionSpec spec = everything();
  spec.topology.band.offset = (int64_t{1} << 24) + 1;
  EXPECT_EQ(refusal(spec), "kInvalidArgument: attention: topology.band.offset is 16777217; expected −16,777,216 to 16,777,216 keys");
}

TEST(Spec, WrongTypesAndValuesAreRefusedByPath) {
  EXPECT_EQ(reading_error(R"({"terms":[{"soft_cap":{"cap":-1}}]})"),
            "kFormat: spec.json: \"terms[0].soft_cap.cap\": expected a positive number, found -1");
  EXPECT_EQ(reading_error(R"({"terms":[{"attention_bias":{"bias":3}}]})"),
            "kFormat: spec.json: \"terms[0].attention_bias.bias\": expected the name of a tensor, found 3");
  EXPECT_EQ(
      reading_error(R"({"terms":[{}]})"),
      "kFormat: spec.json: \"terms[0]\": expected an object with exactly one field (one of alibi, attention_bias, edge_bias, soft_cap, "
      "rule), found "
      "no field");
  EXPECT_EQ(reading_error(R"({"topology":{"band":{"back":-1}}})"),
            "kFormat: spec.json: \"topology.band.back\": expected a count of keys, 0 or more, or null for no limit, found -1");
  EXPECT_EQ(reading_error(R"({"topology":{"band":{"align":"left"}}})"),
            "kFormat: spec.json: \"topology.band.align\": expected \"end\" or \"start\", found \"left\"");
  EXPECT_EQ(reading_error(R"({"topology":{"band":{"offset":0.5}}})"),
            "kFormat: spec.json: \"topology.band.offset\": expected an integer number of keys, which may be negative, found 0.5");
  EXPECT_EQ(reading_error(R"({"score":{"dot":{"scale":1e300}}})"),
            "kFormat: spec.json: \"score.dot.scale\": expected a number that f32 can hold, found 1e+300");
}

TEST(Spec, AFittingDescriptionIsAccepted) { EXPECT_EQ(refusal(everything()), "no error"); }

TEST(Spec, OperandsThatDoNotFitAreRefusedByName) {
  AttentionSpec spec = everything();
  spec.terms[4] = AttentionBias{Tensor::zeros({2, 3, 1, 7})};
  EXPECT_EQ(
      refusal(spec),
      "kShape: attention: operand \"bias2\": expected f32 [batch|1, head|1, query|1, key] = [2|1, 4|1, 5|1, 7], found f32 [2, 3, 1, 7]");
  spec = everything();
  spec.topology.mask = Mask{Tensor::zeros({2, 1, 5, 1}, DType::kBool)};
  EXPECT_NE(refusal(spec).find("operand \"mask\""), std::string::npos);
  spec = everything();
  spec.topology.segments->keys = Tensor::zeros({2, 7}, DType::kI64);
  EXPECT_EQ(refusal(spec), "kShape: attention: operand \"segments.keys\": expected i32 [batch|1, key] = [2|1, 7], found i64 [2, 7]");
  spec = everything();
  spec.normaliser = Softmax{Tensor()};
  EXPECT_EQ(refusal(spec), "kInvalidArgument: attention: operand \"sinks\" was given no tensor; expected f32 [head]");
}

TEST(Spec, ValuesOutsideTheirRangeAreRefused) {
  EXPECT_EQ(refusal({.terms = {SoftCap{0}}}), "kInvalidArgument: attention: soft_cap.cap is 0; expected a positive finite number");
  EXPECT_EQ(
      refusal({.topology = window(-1, 0)}),
      "kInvalidArgument: attention: topology.band.back is -1; expected 0 or more keys besides the query's own, or nothing for no limit");
  EXPECT_EQ(refusal({.score = Dot{std::numeric_limits<float>::infinity()}}),
            "kInvalidArgument: attention: score.dot.scale is inf; expected a finite number, or nothing for 1/sqrt(d_k)");
}

TEST(Spec, OutOfRangeOrUnsortedBlockListsAreRefused) {
  const auto of = [](const BlockSparse& lists) {
    AttentionSpec spec;
    spec.topology.block_sparse = lists;
    return refusal(spec);
  };
  EXPECT_EQ(of(lists_of({0, 2, 3, 3}, {0, 2, 1})), "no error");
  EXPECT_EQ(of(lists_of({1, 2, 3, 3}, {0, 2, 1})), "no error");  // entries that belong to no list are allowed
  EXPECT_NE(of(lists_of({0, 2, 3}, {0, 2, 1})).find("block_sparse.offsets"), std::string::npos);
  EXPECT_NE(of(lists_of({0, 2, 1, 3}, {0, 2, 1})).find("block_sparse.offsets: entry 2 is 1; expected 2 to 3"), std::string::npos);
  EXPECT_NE(of(lists_of({0, 2, 3, 4}, {0, 2, 1})).find("entry 3 is 4"), std::string::npos);
  EXPECT_NE(of(lists_of({0, 2, 3, 3}, {0, 3, 1})).find("block_sparse.keys: entry 1, of query block 0, is 3; expected 1 to 2"),
            std::string::npos);
  EXPECT_NE(of(lists_of({0, 2, 3, 3}, {2, 0, 1})).find("ascending within a list"), std::string::npos);
  EXPECT_NE(of(lists_of({0, 2, 3, 3}, {-1, 0, 1})).find("is -1; expected 0"), std::string::npos);
  AttentionSpec spec;
  spec.terms = {EdgeBias{Tensor::zeros({1, 1, 3})}};
  EXPECT_NE(refusal(spec).find("topology.block_sparse, which is absent"), std::string::npos);
}

TEST(Spec, QueryHeadsAreAMultipleOfKeyHeads) {
  AttentionShape shape = kShape;
  shape.key_heads = 3;
  EXPECT_EQ(refusal({}, shape),
            "kShape: attention: 4 query heads cannot share 3 key heads evenly; query heads must be a multiple of key heads");
  shape.heads = shape.key_heads = 0;
  EXPECT_EQ(refusal({}, shape), "no error");
  shape.d_k = 0;
  EXPECT_EQ(refusal({}, shape), "kShape: attention: d_k is 0; expected 1 or more");
}

TEST(Spec, TheBandCountsKeysBesidesTheQuerysOwn) {
  const auto seen = [](const Topology& topology, int64_t position) { return visible_band(topology.band, position, 10); };
  const auto is = [](Range range, int64_t begin, int64_t end) { return range.begin == begin && range.end == end; };
  EXPECT_TRUE(is(seen(full(), 3), 0, 10));
  EXPECT_TRUE(is(seen(causal(), 3), 0, 4));
  EXPECT_TRUE(is(seen(causal(2), 3), 1, 4));
  EXPECT_TRUE(is(seen(window(1, 2), 3), 2, 6));
  EXPECT_TRUE(is(seen(window(0, 0), 3), 3, 4));
  EXPECT_EQ(seen(causal(), -3).size(), 0);
  EXPECT_EQ(seen(window(2, 2), 15).size(), 0);
  EXPECT_TRUE(is(seen(causal(std::numeric_limits<int64_t>::max()), -2), 0, 0));
  EXPECT_TRUE(is(seen(window(0, std::numeric_limits<int64_t>::max()), 4), 4, 10));
}

}  // namespace
}  // namespace clearhead
