// What networks of parts learn from: the gradient of every parameter, against differences of the loss.
#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/train.h"
#include "models/network.h"
#include "models/reading.h"

namespace clearhead {
namespace {

// Along a random direction of each parameter, the loss rises as its gradient says. A draw, and the edge of a window, have none.
void expect_gradients(const std::string& config, const Rows& input, const Rows* source, const std::vector<int32_t>& targets) {
  Parameters parameters(7);
  const std::unique_ptr<Network> network = network_of(Json::parse(config, "config"), "config.json", parameters);
  Training training;
  training.train(parameters);
  training.backward(training.cross_entropy(network->logits(training, input, source), targets));
  const auto loss = [&] {
    Compute compute;
    return static_cast<double>(*compute.cross_entropy(network->logits(compute, input, source), targets).data<float>());
  };
  for (const Parameters::Named& one : parameters.named()) {
    const Tensor gradient = training.gradient(one.values).clone();
    Tensor values = one.values;
    const Tensor kept = values.clone();
    double slope = 0;
    const auto moved = [&](double by) {
      slope = 0;
      float* to = values.mutable_data<float>();
      for (int64_t i = 0; i < values.numel(); ++i) {
        const double direction = std::sin(static_cast<double>(3 * i + 1));
        to[i] = kept.data<float>()[i] + static_cast<float>(by * direction);
        slope += direction * static_cast<double>(gradient.data<float>()[i]);
      }
      return loss();
    };
    const double step = 2e-3, differences = (moved(step) - moved(-step)) / (2 * step);
    moved(0);
    EXPECT_NEAR(slope, differences, 1e-3 + 0.03 * std::abs(differences)) << one.name;
    EXPECT_NE(slope, 0) << one.name;
  }
}

TEST(NetworkGradients, OfEveryTranslatorButTheOneThatDraws) {
  const Rows source{.batch = 2, .length = 5, .ids = {3, 4, 5, 6, 7, 8, 9, 10, 0, 0}, .lengths = {5, 3}};
  const Rows target{.batch = 2, .length = 4, .ids = {0, 11, 12, 13, 0, 14, 15, 16}};
  for (const char* more : {"", R"(, "score": "dot")", R"(, "score": "general")", R"(, "score": "concat")", R"(, "score": "none")",
                           R"(, "score": "general", "where": "local-m")", R"(, "score": "general", "where": "local-p")"}) {
    SCOPED_TRACE(more);
    expect_gradients(
        std::string(R"({"model_type": "recurrent_translator", "vocab_size": 20, "embedding_size": 12, "hidden_size": 16)") + more + "}",
        target, &source, {11, 12, 13, 1, 14, 15, 16, 1});
  }
}

TEST(NetworkGradients, OfAHierarchy) {
  const Reading one{.sequences = {{1, 2, 3}, {4}}, .is_group = true}, other{.sequences = {{5, 6}, {7, 8, 9, 10}, {11}}, .is_group = true};
  expect_gradients(
      R"({"model_type": "hierarchical_attention", "vocab_size": 12, "embedding_size": 8, "hidden_size": 12, "id2label": {"0": "no", "1": "yes"}})",
      rows_of({&one, &other}, 0), nullptr, {0, 1});
}

}  // namespace
}  // namespace clearhead
