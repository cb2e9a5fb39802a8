// The order in which weights are randomised. A method that reads the model loses its ranking, and one that does not keeps it.
#include "explain/evaluate/sanity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "explain/golden_cases.h"

namespace clearhead::explain {
namespace {

TEST(Sanity, WeightsAreRandomisedFromTheOutputBackwards) {
  const RandomOrder order = random_order({"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.attention.self.query.weight",
                                          "bert.encoder.layer.1.output.dense.weight", "classifier.weight", "bert.pooler.dense.weight"});
  EXPECT_EQ(order.what, (std::vector<std::string>{"heads", "layer 1", "layer 0", "embeddings"}));
  EXPECT_EQ(order.stage_of, (std::vector<int>{3, 2, 1, 0, 0}));
  const RandomOrder pair =
      random_order({"model.encoder.layers.0.fc1.weight", "model.decoder.layers.1.fc1.weight", "model.decoder.layers.0.fc1.weight"});
  EXPECT_EQ(pair.what, (std::vector<std::string>{"decoder layer 1", "decoder layer 0", "encoder layer 0"}));
}

TEST(Sanity, RankingsOfARandomModelDiffer) {
  const Json golden = golden_cases()[1];
  const auto ask = [&](const std::shared_ptr<const Model>& model) { return golden_subject(golden, model); };
  const std::vector<SanityStep> steps =
      sanity(kGoldens + golden.find("folder")->string(), {ask},
             {.methods = {method_named("relevance"), method_named("occlusion")}, .attribution = {}, .tokenizer = false});
  ASSERT_EQ(steps.size(), 4U);  // the head (the final norm, whose parameters stay), two layers, embeddings
  for (const double tau : steps[0].agreement) EXPECT_NEAR(tau, 1, 1e-9);
  for (const double tau : steps.back().agreement) EXPECT_LT(std::abs(tau), 0.8);
}

}  // namespace
}  // namespace clearhead::explain
