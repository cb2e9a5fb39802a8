// A network with a copy mechanism: its output mixes the map's weights and the vocabulary; step by
// step equals all at once, a batch equals single inputs.
#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/map.h"
#include "largest.h"
#include "models/network.h"
#include "refused.h"

namespace clearhead {
namespace {

Json config_of(const std::string& more = "") {
  return Json::parse(R"({"model_type": "pointer_generator", "vocab_size": 20, "embedding_size": 12, "hidden_size": 16)" + more + "}",
                     "config");
}

struct Made {
  Parameters parameters{7};
  std::unique_ptr<Network> network;
  explicit Made(const std::string& more = "") : network(network_of(config_of(more), "config.json", parameters)) {}
};

const Batch kSource{.batch = 2, .length = 5, .ids = {3, 4, 3, 6, 7, 8, 9, 8, 0, 0}, .lengths = {5, 3}};
const Batch kTarget{.batch = 2, .length = 4, .ids = {0, 3, 12, 7, 0, 8, 9, 15}};

TEST(PointerGenerator, StepwiseDecodingMatchesOneRun) {
  for (const char* copies : {"", R"(, "copies": false)"}) {
    const Made made(copies);
    Compute compute;
    const Tensor whole = made.network->logits(compute, kTarget, &kSource);
    ASSERT_EQ(whole.shape(), (Shape{8, 20}));
    ModelCache cache{.batch = 2};
    made.network->read(compute, kSource, cache);
    for (size_t t = 0; t < 4; ++t, ++cache.length) {
      const Tensor step = made.network->step(compute, {kTarget.ids[t], kTarget.ids[4 + t]}, cache);
      for (size_t text = 0; text < 2; ++text)
        EXPECT_LE(largest_difference(step.data<float>() + text * 20, whole.data<float>() + (text * 4 + t) * 20, 20), 4e-6)
            << t << ", " << text;
    }
  }
}

TEST(PointerGenerator, BatchesMatchSingleRunsAndBeamsKeepTheirOwnStates) {
  const Made made;
  Compute compute;
  const Tensor both = made.network->logits(compute, kTarget, &kSource);
  const Batch source{.batch = 1, .length = 3, .ids = {8, 9, 8}}, target{.batch = 1, .length = 4, .ids = {0, 8, 9, 15}};
  const Tensor alone = made.network->logits(compute, target, &source);
  EXPECT_LE(largest_difference(alone.data<float>(), both.data<float>() + 80, 80), 4e-6);
  ModelCache beams{.batch = 2}, one{.batch = 2};
  made.network->read(compute, kSource, beams);
  made.network->read(compute, kSource, one);
  beams.select({0, 0, 1, 1});
  const Tensor four = made.network->step(compute, {11, 12, 13, 14}, beams), two = made.network->step(compute, {12, 14}, one);
  EXPECT_LE(largest_difference(four.data<float>() + 20, two.data<float>(), 20), 4e-6);
  EXPECT_LE(largest_difference(four.data<float>() + 60, two.data<float>() + 20, 20), 4e-6);
}

TEST(PointerGenerator, AWordIsCopiedByTheSumOfTheWeightsOfEqualTokens) {
  const Made made, without(R"(, "copies": false)");  // parameters are initialised from their names, so all except the gate's are equal
  Maps maps;
  Compute compute({.observer = &maps});
  const Tensor mixed = made.network->logits(compute, kTarget, &kSource);
  ASSERT_EQ(maps.all().size(), 1u);
  Compute plain;
  const Tensor logits = without.network->logits(plain, kTarget, &kSource);
  const AttentionMap& map = maps.at("cross", 0);
  for (int64_t row = 0; row < 4; ++row) {
    const std::vector<float> weights = map.head(0, 0).row(row).weights();  // for the text 3 4 3 6 7
    const float *said = mixed.data<float>() + row * 20, *written = logits.data<float>() + row * 20;
    double sum = 0, total = 0;
    for (int64_t w = 0; w < 20; ++w) {
      sum += std::exp(static_cast<double>(written[w]));
      total += std::exp(static_cast<double>(said[w]));
    }
    EXPECT_NEAR(total, 1, 1e-5);
    // A token that is not in the source gives the gate, and with it every other token's probability.
    const double p = std::exp(static_cast<double>(said[12])) / (std::exp(static_cast<double>(written[12])) / sum);
    EXPECT_GT(p, 0);
    EXPECT_LT(p, 1);
    for (const auto& [word, copied] :
         {std::pair{3, weights[0] + weights[2]}, {4, weights[1]}, {6, weights[3]}, {7, weights[4]}, {5, 0.0F}}) {
      const double expected = p * std::exp(static_cast<double>(written[word])) / sum + (1 - p) * static_cast<double>(copied);
      EXPECT_NEAR(std::exp(static_cast<double>(said[word])), expected, 1e-5) << row << ", " << word;
    }
  }
}

TEST(PointerGenerator, AKnockedOutWordIsNotCopied) {
  const Made made;
  Compute plain, cut({.interventions = {.knockouts = {{.queries = {1, 2}, .keys = {1, 2}, .family = "cross"}}}});
  const Tensor before = made.network->logits(plain, kTarget, &kSource), after = made.network->logits(cut, kTarget, &kSource);
  EXPECT_EQ(largest_difference(before.data<float>(), after.data<float>(), 20), 0);
  EXPECT_GT(before.data<float>()[20 + 4], after.data<float>()[20 + 4] + 0.01F);
}

TEST(PointerGenerator, InvalidConfigFieldsAreRefusedByName) {
  const auto refused = [](const char* field, const Json& value, const std::string& says) {
    Json config = config_of();
    config[field] = value;
    Parameters parameters;
    expect_refused(ErrorCode::kFormat, says, [&] { network_of(config, "config.json", parameters); });
  };
  refused("hidden_size", 7, "\"hidden_size\": expected an even number");
  refused("vocab_size", 0, "\"vocab_size\": expected 1 or more tokens");
  refused("copies", 1, "\"copies\"");
}

}  // namespace
}  // namespace clearhead
