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

Drawn draw(const std::optional<Sampling>& sampling, uint64_t index, const std::vector<int32_t>& seen = {}) {
  return draw_token(kLogits.data(), static_cast<int64_t>(kLogits.size()), sampling, seen, index);
}

std::vector<double> softmax(double temperature) {
  std::vector<double> shares;
  double sum = 0;
  for (const float logit : kLogits) sum += std::exp(static_cast<double>(logit) / temperature);
  for (const float logit : kLogits) shares.push_back(std::exp(static_cast<double>(logit) / temperature) / sum);
  return shares;
}

std::vector<double> frequencies(const Sampling& sampling, int draws, const std::vector<int32_t>& seen = {}) {
  std::vector<double> counts(kLogits.size());
  for (int at = 0; at < draws; ++at) counts[static_cast<size_t>(draw(sampling, static_cast<uint64_t>(at), seen).id)] += 1.0 / draws;
  return counts;
}

TEST(Sampling, GreedyTakesTheLargestAndTiesGoToTheSmallerId) {
  EXPECT_EQ(draw(std::nullopt, 0).id, 1);
  const std::vector<float> tied = {0.0F, 2.0F, 2.0F};
  EXPECT_EQ(draw_token(tied.data(), 3, std::nullopt, {}, 0).id, 1);
}

TEST(Sampling, TheProbabilityIsTheModelsOwnWhateverSamplingChanges) {
  const Drawn drawn = draw(Sampling{.temperature = 0.01, .top_k = 1, .seed = 4}, 0);
  EXPECT_EQ(drawn.id, 1);
  EXPECT_NEAR(drawn.probability, softmax(1)[1], tolerance::kFew);
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
  EXPECT_EQ(drawn({.top_p = 0.5}), (std::set<int32_t>{1}));        // token 1 alone holds 0.64
  EXPECT_EQ(drawn({.top_p = 0.8}), (std::set<int32_t>{1, 2}));     // 0.64 + 0.23
  EXPECT_EQ(drawn({.top_p = 0.9}), (std::set<int32_t>{0, 1, 2}));  // + 0.09
  EXPECT_EQ(drawn({.top_p = 1e-9}), (std::set<int32_t>{1}));       // never none
  EXPECT_EQ(drawn({.temperature = 4, .top_k = 3, .top_p = 0.999}), (std::set<int32_t>{0, 1, 2}));
}

TEST(Sampling, ThePenaltyPushesDownWhatWasSeenOnceHoweverOften) {
  const std::vector<double> once = frequencies({.repetition_penalty = 3.0, .seed = 5}, 20'000, {1, 3});
  const std::vector<double> twice = frequencies({.repetition_penalty = 3.0, .seed = 5}, 20'000, {1, 1, 3, 3, 1});
  EXPECT_EQ(once, twice);
  // logits become 1, 1, 2, −3, 0
  const double sum = 2 * std::exp(1.0) + std::exp(2.0) + std::exp(-3.0) + 1;
  EXPECT_NEAR(once[1], std::exp(1.0) / sum, 0.015);
  EXPECT_NEAR(once[3], std::exp(-3.0) / sum, 0.005);
}

TEST(Sampling, RefusesWhatCannotBeMeant) {
  const auto message = [](const Sampling& sampling) -> std::string {
    try {
      validate(sampling);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.temperature = 0}), "temperature: expected a positive number (greedy: no sampling), found 0");
  EXPECT_EQ(message({.top_k = -1}), "top_k: expected 0 (all) or more, found -1");
  EXPECT_EQ(message({.top_p = 1.5}), "top_p: expected a number above 0, at most 1, found 1.5");
  EXPECT_EQ(message({.repetition_penalty = 0}), "repetition_penalty: expected a positive number, found 0");
  EXPECT_EQ(message({}), "");
}

TEST(Sampling, LogitsThatAreNotNumbersAreRefused) {
  const std::vector<float> broken = {0.0F, std::numeric_limits<float>::quiet_NaN(), 1.0F};
  expect_refused(ErrorCode::kInvalidArgument, "logits hold NaN", [&] { draw_token(broken.data(), 3, std::nullopt, {}, 0); });
}

}  // namespace
}  // namespace clearhead
