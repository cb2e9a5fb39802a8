// Networks for pictures: a batch equals single pictures, a loaded model has the same bits as the saved one, and their maps cover patches
// and contain the weights that were used.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "clearhead/answers.h"
#include "clearhead/data.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "largest.h"
#include "models/input_kind.h"
#include "models/network.h"
#include "random_tensor.h"
#include "refused.h"
#include "text/tokenizer_json.h"

namespace clearhead {
namespace {

const std::string kLabels = R"(, "id2label": {"0": "no", "1": "yes", "2": "never"}})";
const std::string kVit =
    R"({"model_type": "vision_transformer", "num_channels": 2, "image_size": [8, 16], "patch_size": 4, "hidden_size": 8,
                             "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12)";
const std::string kCbam = R"({"model_type": "convolutional_attention", "num_channels": 2, "image_size": [8, 16], "patch_size": 2,
                              "hidden_size": 8, "num_stages": 2, "blocks_per_stage": 1)";
const std::string kScene = R"({"model_type": "scene_question", "vocab_size": 256, "num_channels": 2, "image_size": [8, 16], "patch_size": 8,
                               "hidden_size": 8, "num_attention_heads": 2, "encoder_layers": 1, "num_hidden_layers": 2,
                               "convolution_layers": 1)";

// A saved model: its folder, its parameters, and the model that load() returns.
struct Saved {
  std::string folder;
  Parameters parameters{7};
  std::unique_ptr<Network> network;
  std::shared_ptr<const Model> model;
  explicit Saved(const std::string& config) {
    folder = testing::TempDir() + "picture-network-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder);
    network = network_of(Json::parse(config + kLabels, "config"), "config.json", parameters);
    parameters.save(folder + "/model.safetensors");
    write_file(folder + "/config.json", config + kLabels);
    write_file(folder + "/tokenizer.json", byte_tokenizer_json());
    model = load(folder);
  }
  Trace observed(const ModelInput& input) const {
    Trace trace;
    observe(*model, input, trace, {});
    return trace;
  }
};

ModelInput input(uint32_t seed) {
  return {.question = seed % 2 == 0 ? "what?" : "how many are there?", .picture = random_tensor({2, 8, 16}, seed)};
}

float weight(const Trace& trace, const char* family, int layer, int64_t query, int64_t key) {
  return trace.map(family, layer).row(0, query).weights()[static_cast<size_t>(key)];
}

std::vector<double> probabilities(const Saved& saved, const ModelInput& input) {
  std::vector<double> out;
  const std::vector<std::vector<ClassScore>> scores = classify_inputs(*saved.model, {input}, {});
  for (const ClassScore& score : scores[0]) out.push_back(score.probability);
  return out;
}

TEST(PictureNetwork, ResizesAPictureOfAnotherSizeAsItsConfigSays) {
  const ModelInput large{.picture = random_tensor({2, 20, 24}, 3)};
  {
    const Saved refusing(kVit);
    expect_refused(ErrorCode::kShape, "the picture is [2, 20, 24]; this model reads [channels, height, width] = [2, 8, 16]",
                   [&] { classify_inputs(*refusing.model, {large}, {}); });
  }
  const Saved saved(kVit + R"(, "resize": "fit", "resample": "box")");
  const Tensor fitted = fit_image(large.picture, 8, 16, Resampling::kBox);
  EXPECT_EQ(probabilities(saved, large), probabilities(saved, {.picture = fitted}));
  EXPECT_NE(probabilities(saved, large), probabilities(saved, {.picture = resize_image(large.picture, 8, 16)}));
  EXPECT_EQ(describe_input(saved.network->facts(), nullptr, large).items.front().picture.shape(), (Shape{8, 16, 3}));
}

class EveryPictureNetwork : public testing::TestWithParam<std::string> {};

TEST_P(EveryPictureNetwork, AnswersMatchInABatchAndAfterLoading) {
  const Saved saved(GetParam());
  const auto both = classify_inputs(*saved.model, {input(1), input(2)}, {});
  const auto alone = classify_inputs(*saved.model, {input(2)}, {});
  ASSERT_EQ(both.size(), 2u);
  for (size_t label = 0; label < 3; ++label) {
    EXPECT_EQ(both[1][label].label, alone[0][label].label);
    EXPECT_NEAR(both[1][label].probability, alone[0][label].probability, 1e-6);
  }
  const auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
  const EncodedInput read = encode_input(saved.network->facts(), tokenizer.get(), input(1));
  const Batch rows = collate_side({&read.input}, 0), source = read.source ? collate_side({&*read.source}, 0) : Batch();
  Compute compute;
  const Batch* given = read.source ? &source : nullptr;
  const Tensor made = saved.network->logits(compute, rows, given), loaded = saved.model->run_batch(rows, given).class_logits;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(made.data<float>()[i], loaded.data<float>()[i]);
}

TEST_P(EveryPictureNetwork, RefusesAPictureOfAnotherSize) {
  const Saved saved(GetParam());
  expect_refused(ErrorCode::kShape, "the picture is [2, 8, 8]; this model reads [channels, height, width] = [2, 8, 16]", [&] {
    classify_inputs(*saved.model, {{.question = "what?", .picture = random_tensor({2, 8, 8}, 1)}}, {});
  });
}

INSTANTIATE_TEST_SUITE_P(Networks, EveryPictureNetwork, testing::Values(kVit, kCbam, kScene));

TEST(PictureNetworks, AVisionTransformersKeysAreThePatches) {
  const Saved saved(kVit);
  const Trace trace = saved.observed(input(1));
  const MapFamily &enc = trace.family("enc"), &pool = trace.family("pool");
  EXPECT_EQ(std::vector<int64_t>({enc.queries, enc.keys, enc.layers, pool.queries, pool.keys}), std::vector<int64_t>({8, 8, 2, 1, 8}));
  EXPECT_EQ(trace.plan().text.items[0].rows, 2);
  EXPECT_EQ(trace.plan().text.pieces[5], "patch 2,2");
  Interventions unseen;
  unseen.knockouts.push_back({.queries = {0, 1}, .keys = {0, 4}, .family = "pool"});
  EXPECT_NE(classify_inputs(*saved.model, {input(1)}, unseen)[0][0].probability,
            classify_inputs(*saved.model, {input(1)}, {})[0][0].probability);
}

TEST(PictureNetworks, SpatialAttentionWeightsAreTheGate) {
  const Saved saved(kCbam);
  const Trace trace = saved.observed(input(1));
  const MapFamily& spatial = trace.family("spatial");
  EXPECT_EQ(std::vector<int64_t>({spatial.queries, spatial.keys, spatial.layers}), std::vector<int64_t>({1, 32, 2}));
  double sum = 0;
  for (int64_t patch = 0; patch < 32; ++patch) {
    const double gate = static_cast<double>(weight(trace, "spatial", 0, 32, patch));
    EXPECT_GT(gate, 0);
    EXPECT_LT(gate, 1);
    sum += gate;
    // A cell of the second stage covers four patches.
    const int64_t first = patch / 16 * 16 + patch % 8 / 2 * 2;
    EXPECT_EQ(weight(trace, "spatial", 1, 32, patch), weight(trace, "spatial", 1, 32, first)) << patch;
  }
  EXPECT_GT(sum, 2);
  // With half of the positions closed, the answer differs.
  const auto answer = [&](const Interventions& interventions) { return classify_inputs(*saved.model, {input(1)}, interventions)[0]; };
  Interventions closed;
  closed.knockouts.push_back({.queries = {0, 1}, .keys = {0, 16}, .family = "spatial"});
  Largest difference;
  for (size_t label = 0; label < 3; ++label)
    difference.add(static_cast<double>(answer(closed)[label].probability - answer({})[label].probability));
  EXPECT_GT(difference.value(), 1e-5);
}

TEST(PictureNetworks, WordsAttendToPatchesAndPoolingToWords) {
  const Saved saved(kScene);
  const Trace trace = saved.observed({.question = "what?", .picture = random_tensor({2, 8, 16}, 1)});
  const MapFamily &cross = trace.family("cross"), &enc = trace.family("enc"), &pool = trace.family("pool");
  EXPECT_EQ(trace.main_family(), "cross");
  EXPECT_EQ(std::vector<int64_t>({cross.queries, cross.keys, cross.layers, cross.first_key}), std::vector<int64_t>({5, 2, 2, 5}));
  EXPECT_EQ(std::vector<int64_t>({enc.queries, enc.keys}), std::vector<int64_t>({2, 2}));
  EXPECT_EQ(std::vector<int64_t>({pool.queries, pool.keys}), std::vector<int64_t>({1, 5}));
  for (int64_t word = 0; word < 5; ++word) {
    double sum = 0;
    const MapRow row = trace.map("cross", 1).row(1, word);
    for (int64_t patch = 5; patch < 7; ++patch) sum += static_cast<double>(row.weights()[static_cast<size_t>(patch)]);
    EXPECT_NEAR(sum, 1, 1e-5);
  }
}

TEST(PictureNetworks, InvalidConfigFieldsAreRefusedByName) {
  const auto expect = [&](std::string config, const std::string& from, const std::string& to, const std::string& says) {
    config.replace(config.find(from), from.size(), to);
    Parameters parameters;
    expect_refused(ErrorCode::kFormat, says, [&] { network_of(Json::parse(config + kLabels, "config"), "config.json", parameters); });
  };
  expect(kVit, R"("patch_size": 4)", R"("patch_size": 3)", "\"patch_size\": expected a divisor of 8 and 16");
  expect(kVit, R"("num_attention_heads": 2)", R"("num_attention_heads": 3)", "\"num_attention_heads\": expected a divisor of 8");
  expect(kVit, R"([8, 16])", R"([8, 0])", "\"image_size\": expected a side, or [height, width]");
  expect(kCbam, R"("num_stages": 2)", R"("num_stages": 4)",
         "\"num_stages\": expected a number of stages for which 4 × 8 patches can be halved");
  expect(kScene, R"("patch_size": 8)", R"("patch_size": 2)", "\"patch_size\": expected a power of two, 4 or more");
  expect(kScene, R"("hidden_size": 8)", R"("hidden_size": 6)", "\"hidden_size\": expected a multiple of 4 (half the patch size)");
}

}  // namespace
}  // namespace clearhead
