// The channels of a score: products add up to the score, and the softmax of all scores is the map's row.
#include "viewer/questions/neurons.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "looked_at.h"
#include "refused.h"
#include "viewer/api.h"

namespace clearhead::viewer {
namespace {

using looked_at::array_of;

TEST(Neurons, ProductsAddUpToScoresWhoseSoftmaxIsTheRow) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  constexpr int64_t kQuery = 30;
  for (int64_t head = 0; head < looked_at::kHeads; ++head) {
    const ViewFrame frame = questions::neurons(loaded, {.at = {.layer = 1, .head = head}, .query = kQuery, .keys = 256});
    const auto keys = array_of<uint32_t>(frame, "keys");
    const auto products = array_of<float>(frame, "products"), scores = array_of<float>(frame, "scores");
    const auto weights = array_of<float>(frame, "weights"), q = array_of<float>(frame, "q"), k = array_of<float>(frame, "k");
    ASSERT_EQ(keys.size(), static_cast<size_t>(kQuery + 1)) << "the keys that a causal query sees";
    ASSERT_EQ(q.size(), static_cast<size_t>(looked_at::kWidth));
    const double scale = frame.header.find("scale")->number();
    const double largest = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
    const double sum = std::accumulate(scores.begin(), scores.end(), 0.0,
                                       [&](double all, float score) { return all + std::exp(static_cast<double>(score) - largest); });
    const auto row = loaded.trace().map(1).row(static_cast<int>(head), kQuery).weights();
    for (size_t i = 0; i < keys.size(); ++i) {
      double score = 0;
      for (size_t c = 0; c < q.size(); ++c) {
        const float product = products[i * q.size() + c];
        EXPECT_NEAR(product, scale * static_cast<double>(q[c]) * static_cast<double>(k[i * q.size() + c]), 1e-5);
        score += static_cast<double>(product);
      }
      EXPECT_NEAR(scores[i], score, 1e-4);
      EXPECT_NEAR(weights[i], std::exp(static_cast<double>(scores[i]) - largest) / sum, 1e-5) << "head " << head << ", key " << keys[i];
      EXPECT_EQ(weights[i], row[keys[i]]);
      if (i > 0) {
        EXPECT_LE(weights[i], weights[i - 1]);
      }
    }
  }
}

TEST(Neurons, OfAllKeysTheHeaviestAreChosen) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  const auto some = array_of<uint32_t>(questions::neurons(loaded, {.query = 39, .keys = 3}), "keys");
  const auto all = array_of<uint32_t>(questions::neurons(loaded, {.query = 39, .keys = 256}), "keys");
  ASSERT_EQ(some.size(), 3U);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
}

TEST(Neurons, OfAWindowAreThoseOfItsOwnRun) {
  const auto run = [](float keys_times) {
    return std::make_shared<const Trace>(looked_at::trace_of({.tokens = 8, .causal = false, .keys_times = keys_times}));
  };
  const std::shared_ptr<const Trace> first = run(1), second = run(2);
  std::vector<int64_t> early(8), late(8);
  std::iota(early.begin(), early.end(), 0);
  std::iota(late.begin(), late.end(), 4);
  const RunPlan whole = looked_at::plan_of({.tokens = 12, .causal = false});
  LoadedTrace loaded(
      std::make_shared<const Trace>(Trace::from_windows(whole, {{first.get(), early, {0, 6}}, {second.get(), late, {2, 8}}})), {});
  LoadedTrace alone(second, {});
  const ViewFrame shown = questions::neurons(loaded, {.query = 10}), own = questions::neurons(alone, {.query = 6});
  EXPECT_EQ(array_of<float>(shown, "k"), array_of<float>(own, "k"));
  EXPECT_EQ(array_of<float>(shown, "scores"), array_of<float>(own, "scores"));
  std::vector<uint32_t> moved = array_of<uint32_t>(own, "keys");
  for (uint32_t& key : moved) key += 4;
  EXPECT_EQ(array_of<uint32_t>(shown, "keys"), moved);
}

TEST(Neurons, SayWhetherTermsChangeTheSum) {
  looked_at::Options options{.tokens = 40};
  LoadedTrace plain = looked_at::loaded_of(options);
  EXPECT_FALSE(questions::neurons(plain, {.query = 4}).header.find("has_terms")->boolean());
  options.spec.terms = {SoftCap{5}};
  LoadedTrace capped = looked_at::loaded_of(options);
  EXPECT_TRUE(questions::neurons(capped, {.query = 4}).header.find("has_terms")->boolean());
}

TEST(Neurons, OfARowThatWasNotKeptAreRefused) {
  TraceOptions few;
  few.budget_bytes = 440'000;
  few.tail = 20;
  LoadedTrace loaded = looked_at::loaded_of({.trace = few});
  EXPECT_NO_THROW((void)questions::neurons(loaded, {.query = 290}));
  EXPECT_THROW((void)questions::neurons(loaded, {.query = 5}), NotKept);
}

TEST(Neurons, RefuseARowThatDoesNotExistAndSeveralRows) {
  LoadedTrace loaded = looked_at::loaded_of({.tokens = 40});
  expect_refused(ErrorCode::kInvalidArgument, "40", [&] { (void)questions::neurons(loaded, {.query = 40}); });
  expect_refused(ErrorCode::kInvalidArgument, "expected one query", [&] {
    (void)answer(loaded, {.path = "neurons", .query = {{"q", "1-3"}}});
  });
  EXPECT_EQ(answer(loaded, {.path = "neurons", .query = {{"q", "5"}, {"format", "json"}}}).status, 200);
}

TEST(Neurons, RefuseAScoreThatIsNoDotProduct) {
  looked_at::Options options{.tokens = 40};
  options.spec.score = Additive{.weight = random_tensor({1, looked_at::kWidth}, 9)};
  LoadedTrace loaded = looked_at::loaded_of(options);
  expect_refused(ErrorCode::kUnsupported, "not a dot product", [&] { (void)questions::neurons(loaded, {.query = 4}); });
}

}  // namespace
}  // namespace clearhead::viewer
