// Sampling: greedy choice, temperature, top-k, top-p, and seeds.
#include "generate/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

const std::vector<float> kLogits = {1.0F, 3.0F, 2.0F, -1.0F, 0.0F};

Drawn draw_from(const std::vector<float>& logits, const std::optional<Sampling>& sampling, uint64_t index) {
  return draw_token({logits.data(), logits.data(), static_cast<int64_t>(logits.size())}, sampling, index);
}

Drawn draw(const std::optional<Sampling>& sampling, uint64_t index) { return draw_from(kLogits, sampling, index); }

std::vector<double> softmax(double temperature) {
  std::vector<double> shares;
  double sum = 0;
  for (const float logit : kLogits) sum += std::exp(static_cast<double>(logit) / temperature);
  for (const float logit : kLogits) shares.push_back(std::exp(static_cast<double>(logit) / temperature) / sum);
  return shares;
}

std::vector<double> frequencies(const Sampling& sampling, int draws) {
  std::vector<double> counts(kLogits.size());
  for (int at = 0; at < draws; ++at) counts[static_cast<size_t>(draw(sampling, static_cast<uint64_t>(at)).id)] += 1.0 / draws;
  return counts;
}

TEST(Sampling, GreedyTakesTheLargestAndTiesGoToTheSmallerId) {
  EXPECT_EQ(draw(std::nullopt, 0).id, 1);
  const std::vector<float> tied = {0.0F, 2.0F, 2.0F};
  EXPECT_EQ(draw_from(tied, std::nullopt, 0).id, 1);
}

TEST(Sampling, TheProbabilityIsTheModelsRegardlessOfSamplingAndRules) {
  const Drawn drawn = draw(Sampling{.temperature = 0.01, .top_k = 1, .seed = 4}, 0);
  EXPECT_EQ(drawn.id, 1);
  EXPECT_NEAR(drawn.probability, softmax(1)[1], tolerance::kFew);
  std::vector<float> scores = kLogits;
  scores[1] = -std::numeric_limits<float>::infinity();
  const Drawn under_rules = draw_token({kLogits.data(), scores.data(), 5}, std::nullopt, 0);
  EXPECT_EQ(under_rules.id, 2);
  EXPECT_NEAR(under_rules.probability, softmax(1)[2], tolerance::kFew);
}

TEST(Sampling, DrawsFollowTheSoftmaxAtTheTemperature) {
  constexpr int kDraws = 40'000;
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const std::vector<double> expected = softmax(temperature), found = frequencies({.temperature = temperature, .seed = 9}, kDraws);
    for (size_t id = 0; id < expected.size(); ++id) {
      EXPECT_NEAR(found[id], expected[id], 4.5 * std::sqrt(expected[id] * (1 - expected[id]) / kDraws))
          << "token " << id << " at " << temperature;
    }
  }
}

TEST(Sampling, EqualSeedsDrawEqualTokensAndOthersDoNot) {
  std::vector<int32_t> first, second, other;
  for (uint64_t index = 0; index < 64; ++index) {
    first.push_back(draw(Sampling{.seed = 1}, index).id);
    second.push_back(draw(Sampling{.seed = 1}, index).id);
    other.push_back(draw(Sampling{.seed = 2}, index).id);
  }
  EXPECT_EQ(first, second);
  EXPECT_NE(first, other);
}

TEST(Sampling, TopKAndTopPDrawOnlyFromWhatTheyKeep) {
  const auto drawn = [](const Sampling& sampling) {
    std::set<int32_t> ids;
    for (uint64_t index = 0; index < 3000; ++index) ids.insert(draw(sampling, index).id);
    return ids;
  };
  EXPECT_EQ(drawn({.temperature = 1e-300}), (std::set<int32_t>{1}));
  EXPECT_EQ(drawn({.top_k = 2}), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(drawn({.top_p = 0.5}), (std::set<int32_t>{1}));        // token 1 alone has 0.64
  EXPECT_EQ(drawn({.top_p = 0.8}), (std::set<int32_t>{1, 2}));     // 0.64 + 0.23
  EXPECT_EQ(drawn({.top_p = 0.9}), (std::set<int32_t>{0, 1, 2}));  // + 0.09
  EXPECT_EQ(drawn({.top_p = 1e-9}), (std::set<int32_t>{1}));       // never empty
  EXPECT_EQ(drawn({.temperature = 4, .top_k = 3, .top_p = 0.999}), (std::set<int32_t>{0, 1, 2}));
}

TEST(Sampling, RefusesInvalidOptions) {
  const auto message = [](const Sampling& sampling) -> std::string {
    try {
      validate(sampling);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.temperature = 0}), "temperature: expected a positive number (for greedy decoding, turn sampling off), found 0");
  EXPECT_EQ(message({.top_k = -1}), "top_k: expected 0 (all) or more, found -1");
  EXPECT_EQ(message({.top_p = 1.5}), "top_p: expected a number above 0, at most 1, found 1.5");
  EXPECT_EQ(message({}), "");
}

TEST(Sampling, LogitsThatAreNotNumbersAreRefused) {
  const std::vector<float> broken = {0.0F, std::numeric_limits<float>::quiet_NaN(), 1.0F};
  expect_refused(ErrorCode::kInvalidArgument, "logits contain NaN", [&] { draw_from(broken, std::nullopt, 0); });
}

}  // namespace
}  // namespace clearhead
