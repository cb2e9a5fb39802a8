// Gradients of networks made of parts: every parameter's gradient against differences of the loss.
#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/train.h"
#include "models/input_kind.h"
#include "models/network.h"
#include "random_tensor.h"

namespace clearhead::train {
namespace {

struct Differences {
  double step = 2e-3, tolerance = 0.03;
};
// Near the kinks of ReLU and the maximum, differences do not equal the gradient.
constexpr Differences kWithTurns{2e-4, 0.1};

// Along a random direction of each parameter, the loss must change as the gradient predicts.
// Random draws and window edges have no gradient.
void expect_gradients(const std::string& config, const Batch& input, const Batch* source, const std::vector<int32_t>& targets,
                      Differences by = {}) {
  Parameters parameters(7);
  const std::unique_ptr<Network> network = network_of(Json::parse(config, "config"), "config.json", parameters);
  Training training;
  training.train(parameters);
  const auto logits = [&](Training& with) {
    const Tensor found = network->logits(with, input, source);
    return found.rank() == 3 ? found.reshape({found.size(0) * found.size(1), found.size(2)}) : found;
  };
  training.backward(training.cross_entropy(logits(training), targets));
  const auto loss = [&] {
    Training again;  // batch norm with the statistics of the batch
    return static_cast<double>(*again.cross_entropy(logits(again), targets).data<float>());
  };
  for (const Parameters::Named& one : parameters.named()) {
    if (!one.is_trained) continue;
    const Tensor gradient = training.gradient(one.values).clone();
    Tensor values = one.values;
    const Tensor kept = values.clone();
    double slope = 0;
    const auto moved = [&](double along) {
      slope = 0;
      float* to = values.mutable_data<float>();
      for (int64_t i = 0; i < values.numel(); ++i) {
        const double direction = std::sin(static_cast<double>(3 * i + 1));
        to[i] = kept.data<float>()[i] + static_cast<float>(along * direction);
        slope += direction * static_cast<double>(gradient.data<float>()[i]);
      }
      return loss();
    };
    const double differences = (moved(by.step) - moved(-by.step)) / (2 * by.step);
    moved(0);
    EXPECT_NEAR(slope, differences, 1e-3 + by.tolerance * std::abs(differences)) << one.name;
    EXPECT_NE(slope, 0) << one.name;
  }
}

TEST(NetworkGradients, OfEveryDeterministicRecurrentTranslator) {
  const Batch source{.batch = 2, .length = 5, .ids = {3, 4, 5, 6, 7, 8, 9, 10, 0, 0}, .lengths = {5, 3}};
  const Batch target{.batch = 2, .length = 4, .ids = {0, 11, 12, 13, 0, 14, 15, 16}};
  for (const char* more : {"", R"(, "score": "dot")", R"(, "score": "general")", R"(, "score": "concat")", R"(, "score": "none")",
                           R"(, "score": "general", "where": "local-m")", R"(, "score": "general", "where": "local-p")",
                           R"(, "score": "concat", "where": "local-p")", R"(, "normaliser": "chain")",
                           R"(, "score": "general", "normaliser": "chain")", R"(, "normaliser": "entmax15")"}) {
    SCOPED_TRACE(more);
    expect_gradients(
        std::string(R"({"model_type": "recurrent_translator", "vocab_size": 20, "embedding_size": 12, "hidden_size": 16)") + more + "}",
        target, &source, {11, 12, 13, 1, 14, 15, 16, 1});
  }
}

TEST(NetworkGradients, OfANetworkThatCopies) {
  const Batch source{.batch = 2, .length = 5, .ids = {3, 4, 3, 6, 7, 8, 9, 8, 0, 0}, .lengths = {5, 3}};
  const Batch target{.batch = 2, .length = 4, .ids = {0, 3, 12, 7, 0, 8, 9, 15}};
  for (const char* copies : {"true", "false"}) {
    SCOPED_TRACE(copies);
    expect_gradients(
        std::string(R"({"model_type": "pointer_generator", "vocab_size": 20, "embedding_size": 12, "hidden_size": 16, "copies": )") +
            copies + "}",
        target, &source, {3, 12, 7, 1, 8, 9, 15, 1});
  }
}

TEST(NetworkGradients, OfARecurrentTagger) {
  const Batch input{.batch = 2, .length = 4, .ids = {3, 4, 5, 6, 7, 8, 0, 0}, .lengths = {4, 2}};
  for (const char* more : {"", R"("score": "additive", )", R"("normaliser": "chain", )"}) {
    SCOPED_TRACE(more);
    expect_gradients(
        std::string("{") + more +
            R"("model_type": "recurrent_tagger", "vocab_size": 12, "embedding_size": 8, "hidden_size": 12, "id2label": {"0": "O", "1": "B"}})",
        input, nullptr, {0, 1, 0, 1, 1, 0, -100, -100});
  }
}

TEST(NetworkGradients, OfAHierarchy) {
  const EncodedSide one{.sequences = {{1, 2, 3}, {4}}, .is_group = true},
      other{.sequences = {{5, 6}, {7, 8, 9, 10}, {11}}, .is_group = true};
  expect_gradients(
      R"({"model_type": "hierarchical_attention", "vocab_size": 12, "embedding_size": 8, "hidden_size": 12, "id2label": {"0": "no", "1": "yes"}})",
      collate_side({&one, &other}, 0), nullptr, {0, 1});
}

// Its logits are weights, so their cross-entropy applies one more softmax to them; as a loss it is as good as any other.
TEST(NetworkGradients, OfAHierarchyThatChoosesASentence) {
  const EncodedSide one{.sequences = {{1, 2, 3}, {4}}, .is_group = true},
      other{.sequences = {{5, 6}, {7, 8, 9, 10}, {11}}, .is_group = true};
  expect_gradients(
      R"({"model_type": "hierarchical_attention", "output": "sentence", "vocab_size": 12, "embedding_size": 8, "hidden_size": 12})",
      collate_side({&one, &other}, 0), nullptr, {0, 1});
}

const char* const kTwoLabels = R"(, "id2label": {"0": "no", "1": "yes"}})";

TEST(NetworkGradients, OfPictures) {
  const Batch input{.batch = 3, .length = 1, .features = random_tensor({3, 2, 8, 8}, 1)};
  for (const char* config :
       {R"({"model_type": "vision_transformer", "num_channels": 2, "image_size": 8, "patch_size": 4, "hidden_size": 8,
                                 "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12)",
        R"({"model_type": "convolutional_attention", "num_channels": 2, "image_size": 8, "patch_size": 2, "hidden_size": 8,
                                 "num_stages": 2, "blocks_per_stage": 1)"}) {
    SCOPED_TRACE(config);
    expect_gradients(std::string(config) + kTwoLabels, input, nullptr, {0, 1, 1}, kWithTurns);
  }
}

TEST(NetworkGradients, OfAQuestionAboutAScene) {
  const Batch scene{.batch = 3, .length = 1, .features = random_tensor({3, 1, 16, 16}, 1)};
  const Batch question{.batch = 3, .length = 4, .ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0}, .lengths = {4, 4, 2}};
  expect_gradients(std::string(R"({"model_type": "scene_question", "vocab_size": 12, "num_channels": 1, "image_size": 16, "patch_size": 8,
                                   "hidden_size": 8, "num_attention_heads": 2, "encoder_layers": 1, "num_hidden_layers": 1,
                                   "convolution_layers": 1)") +
                       kTwoLabels,
                   question, &scene, {0, 1, 1}, kWithTurns);
}

}  // namespace
}  // namespace clearhead::train
