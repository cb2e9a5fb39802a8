// Drawing: a picture depends on the seed and its number only, its bits are those of the model, and temperature 0 takes the most probable
// patches.
#include "generate/draw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/nn.h"
#include "models/loaded_network.h"
#include "models/networks/image_transformer.h"
#include "ops/ops.h"
#include "refused.h"

namespace clearhead {
namespace {

const std::string kConfig =
    R"({"model_type": "image_transformer", "num_channels": 1, "image_size": [4, 6], "patch_size": 2, "hidden_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "id2label": {"0": "cat", "1": "dog"}})";

std::shared_ptr<const Model> saved_model() {
  const std::string folder = testing::TempDir() + "draw-" + testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::create_directories(folder);
  Parameters parameters(7);
  const auto network = network_of(Json::parse(kConfig, "config"), "config.json", parameters);
  parameters.save(folder + "/model.safetensors");
  write_file(folder + "/config.json", kConfig);
  return load(folder);
}

std::vector<float> pixels(const DrawnPicture& drawn) {
  return {drawn.picture.data<float>(), drawn.picture.data<float>() + drawn.picture.numel()};
}

TEST(Draw, APictureDependsOnTheSeedAndItsNumberOnly) {
  const auto model = saved_model();
  const std::vector<DrawnPicture> one = draw(*model, {.label = "dog", .seed = 4}),
                                  three = draw(*model, {.label = "dog", .count = 3, .seed = 4});
  ASSERT_EQ(three.size(), 3U);
  EXPECT_EQ(one[0].picture.shape(), (Shape{1, 4, 6}));
  EXPECT_EQ(pixels(one[0]), pixels(three[0]));
  EXPECT_NE(pixels(three[0]), pixels(three[1]));
  EXPECT_NE(pixels(one[0]), pixels(draw(*model, {.label = "dog", .seed = 5})[0]));
}

TEST(Draw, BitsAreThoseOfThePicture) {
  const auto model = saved_model();
  const DrawnPicture drawn = draw(*model, {.label = "dog", .temperature = 0.5, .seed = 1})[0];
  const LoadedNetwork& network = network_model(*model, "does not draw");
  const Tensor picture = drawn.picture.reshape({1, 1, 4, 6});
  const Tensor logits = network.run_batch({.batch = 1, .length = 1, .ids = {1}, .features = picture}, nullptr, {}).class_logits;
  const Tensor losses = ops::losses(logits, patch_symbols(network.facts().picture, picture));
  double nats = 0;
  for (int64_t at = 0; at < losses.numel(); ++at) nats += static_cast<double>(losses.data<float>()[at]);
  EXPECT_NEAR(drawn.bits, nats / std::log(2.0), 1e-4);
}

TEST(Draw, TemperatureZeroTakesTheMostProbablePatches) {
  const auto model = saved_model();
  const DrawnPicture greedy = draw(*model, {.label = "cat", .temperature = 0, .seed = 1})[0];
  EXPECT_EQ(pixels(greedy), pixels(draw(*model, {.label = "cat", .temperature = 0, .seed = 2})[0]));
  EXPECT_EQ(pixels(greedy), pixels(draw(*model, {.label = "cat", .temperature = 1e-6, .seed = 2})[0]));
  const LoadedNetwork& network = network_model(*model, "does not draw");
  const Tensor picture = greedy.picture.reshape({1, 1, 4, 6});
  const Tensor logits = network.run_batch({.batch = 1, .length = 1, .ids = {0}, .features = picture}, nullptr, {}).class_logits;
  const std::vector<int32_t> symbols = patch_symbols(network.facts().picture, picture);
  for (size_t patch = 0; patch < symbols.size(); ++patch) {
    const float* own = logits.data<float>() + patch * 16;
    EXPECT_EQ(std::max_element(own, own + 16) - own, symbols[patch]) << patch;
  }
}

TEST(Draw, GuidanceMakesTheClassMoreProbable) {
  const auto model = saved_model();
  const auto probability = [&](double guidance) {
    double sum = 0;
    for (const DrawnPicture& drawn : draw(*model, {.label = "dog", .count = 20, .guidance = guidance, .seed = 1})) {
      const std::vector<std::vector<ClassScore>> scores = classify_inputs(*model, {{.picture = drawn.picture}});
      for (const ClassScore& score : scores[0]) sum += score.label == "dog" ? score.probability : 0;
    }
    return sum / 20;
  };
  const double plain = probability(0);
  EXPECT_GT(probability(3), plain + 0.1);
  EXPECT_NEAR(probability(1e-9), plain, 1e-6);  // the same pictures
}

TEST(Draw, RefusesUnknownClassesTemperaturesAndModels) {
  const auto model = saved_model();
  expect_refused(ErrorCode::kInvalidArgument, "the model has no class \"cow\"; expected one of: cat, dog",
                 [&] { draw(*model, {.label = "cow"}); });
  expect_refused(ErrorCode::kInvalidArgument, "draw: temperature: expected 0 or more, found -1",
                 [&] { draw(*model, {.label = "cat", .temperature = -1}); });
  expect_refused(ErrorCode::kInvalidArgument, "draw: guidance: expected 0 or more, found -2",
                 [&] { draw(*model, {.label = "cat", .guidance = -2}); });
  const auto classifier = load(std::string(CLEARHEAD_SOURCE_DIR) + "/models/digits");
  expect_refused(ErrorCode::kUnsupported, "does not draw", [&] { draw(*classifier, {.label = "3"}); });
}

}  // namespace
}  // namespace clearhead
