// The detection transformer: shapes of its outputs, its gradient, the Gaussian in its cross-attention, and its maps.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "clearhead/answers.h"
#include "clearhead/data.h"
#include "clearhead/trace.h"
#include "clearhead/train.h"
#include "models/detection.h"
#include "models/input_picture.h"
#include "models/network.h"
#include "random_tensor.h"
#include "refused.h"

namespace clearhead {
namespace {

constexpr int64_t kClasses = 3, kQueries = 6, kPatches = 8, kNumbers = kClasses + 5;

std::string config(int layers, const std::string& more = "") {
  return R"({"model_type": "detection_transformer", "num_channels": 2, "image_size": [8, 16], "patch_size": 4, "hidden_size": 8,
             "num_attention_heads": 2, "intermediate_size": 12, "encoder_layers": 1, "num_queries": 6, "num_hidden_layers": )" +
         std::to_string(layers) + more + R"(, "id2label": {"0": "cat", "1": "dog", "2": "hen"}})";
}
std::unique_ptr<Network> network(Parameters& parameters, int layers) {
  return network_of(Json::parse(config(layers), "config"), "config.json", parameters);
}
Batch pictures(int64_t count) { return {.batch = count, .length = 1, .features = random_tensor({count, 2, 8, 16}, 5)}; }

TEST(DetectionTransformer, GivesEachQueryClassLogitsAndABoxInThePicture) {
  Parameters parameters(3);
  const auto of = network(parameters, 2);
  EXPECT_EQ(of->facts().output, "boxes");
  Compute compute;
  const Tensor one = of->logits(compute, pictures(3), nullptr), all = of->training_output(compute, pictures(3), nullptr);
  ASSERT_EQ(one.shape(), (Shape{3 * kQueries, kNumbers}));
  ASSERT_EQ(all.shape(), (Shape{2 * 3 * kQueries, kNumbers}));
  for (int64_t at = 0; at < one.numel(); ++at) {
    EXPECT_EQ(one.data<float>()[at], all.data<float>()[one.numel() + at]) << "the last layer comes last";
    if (at % kNumbers <= kClasses) continue;
    EXPECT_GT(one.data<float>()[at], 0);
    EXPECT_LT(one.data<float>()[at], 1);
  }
}

// The anchors are left out: the network treats the boxes that place the Gaussians as constants.
TEST(DetectionTransformer, ItsGradientEqualsDifferencesOfTheLoss) {
  constexpr double kStep = 5e-4;
  Parameters parameters(7);
  const auto of = network(parameters, 1);
  for (const Parameters::Named& one : parameters.named()) {  // the weights that begin as zeros
    if (one.name != "box.output.weight" && one.name != "decoder.0.cross.offsets.bias") continue;
    Tensor values = one.values;
    for (int64_t at = 0; at < values.numel(); ++at) values.mutable_data<float>()[at] = 0.1F * std::sin(static_cast<float>(at));
  }
  const Tensor factors = random_tensor({2 * kQueries, kNumbers}, 9);
  const auto loss_of = [&](Training& training) {
    const Tensor product = training.multiply(of->training_output(training, pictures(2), nullptr), factors);
    return training.sum(product.reshape({1, product.numel()}), 1);
  };
  Training training;
  training.train(parameters);
  training.backward(loss_of(training));
  for (const Parameters::Named& one : parameters.named()) {
    if (!one.is_trained || one.name == "anchors") continue;
    const Tensor gradient = training.gradient(one.values).clone(), kept = one.values.clone();
    Tensor values = one.values;
    const auto moved = [&](double along) {
      double slope = 0;
      for (int64_t at = 0; at < values.numel(); ++at) {
        const double direction = std::sin(static_cast<double>(3 * at + 1));
        values.mutable_data<float>()[at] = kept.data<float>()[at] + static_cast<float>(along * direction);
        slope += direction * static_cast<double>(gradient.data<float>()[at]);
      }
      Training again;
      return std::pair(static_cast<double>(*loss_of(again).data<float>()), slope);
    };
    const double differences = (moved(kStep).first - moved(-kStep).first) / (2 * kStep);
    const double slope = moved(0).second;
    EXPECT_NEAR(slope, differences, 0.05 + 0.05 * std::abs(differences)) << one.name;
    if (one.name.ends_with("key.bias")) continue;  // adds the same to all scores of a query
    EXPECT_NE(slope, 0) << one.name;
  }
}

struct Saved {
  std::string folder = testing::TempDir() + "detection-" + testing::UnitTest::GetInstance()->current_test_info()->name();
  Parameters parameters{7};
  std::unique_ptr<Network> of;
  std::shared_ptr<const Model> model;
  Saved() {
    std::filesystem::create_directories(folder);
    of = network(parameters, 2);
    parameters.save(folder + "/model.safetensors");
    write_file(folder + "/config.json", config(2));
    model = load(folder, {.tokenizer = false});
  }
};

TEST(DetectionTransformer, AQueryLooksMostAtThePatchesOfItsAnchor) {
  const Saved saved;
  Trace trace;
  observe(*saved.model, {.picture = random_tensor({2, 8, 16}, 4)}, trace, {});
  const MapFamily& cross = trace.family("cross");
  ASSERT_EQ(cross.queries, kQueries);
  ASSERT_EQ(cross.keys, kPatches);
  EXPECT_EQ(trace.family("objects").queries, kQueries);
  const ItemRange& queries = trace.plan().text.items.back();
  ASSERT_EQ(queries.boxes.shape(), (Shape{kQueries, 4}));
  EXPECT_EQ(queries.picture.shape(), (Shape{8, 16, 3}));
  EXPECT_EQ(trace.family("enc").queries, kPatches);
  // Six anchors on a grid of 2 × 3 before training, patches of 2 × 4: queries 1 and 6 are in opposite corners.
  for (const auto& [query, patch] : {std::pair<int64_t, size_t>{0, 0}, {5, 7}}) {
    double sum = 0;
    for (int head = 0; head < 2; ++head) {
      const MapRow row = trace.map("cross", 0).row(head, cross.first_query + query);
      sum += static_cast<double>(row.weights()[static_cast<size_t>(cross.first_key) + patch]);
    }
    EXPECT_GT(sum / 2, 2.0 / kPatches) << "query " << query;
  }
}

TEST(DetectionTransformer, FindsObjectsWithBoxesInPixelsOfTheGivenPicture) {
  const Saved saved;
  const ModelInput input{.picture = random_tensor({2, 8, 16}, 4)};
  const auto all = detect(*saved.model, input, {.threshold = 0}),
             large = detect(*saved.model, input, {.threshold = 0, .height = 80, .width = 320});
  ASSERT_EQ(all.size(), static_cast<size_t>(kQueries));
  Compute compute;
  const Tensor outputs = saved.of->logits(compute, {.batch = 1, .length = 1, .features = input.picture.reshape({1, 2, 8, 16})}, nullptr);
  for (size_t at = 0; at < all.size(); ++at) {
    const float* box = outputs.data<float>() + all[at].query * kNumbers + kClasses + 1;
    EXPECT_NEAR(all[at].x + all[at].width / 2, 16 * box[0], 1e-4);
    EXPECT_NEAR(all[at].y + all[at].height / 2, 8 * box[1], 1e-4);
    EXPECT_NEAR(all[at].width, 16 * box[2], 1e-4);
    EXPECT_NEAR(large[at].x, 20 * all[at].x, 1e-3);
    EXPECT_NEAR(large[at].height, 10 * all[at].height, 1e-3);
    EXPECT_EQ(all[at].attention.size(), static_cast<size_t>(kPatches));
    EXPECT_LE(all[at].probability, all[at == 0 ? 0 : at - 1].probability);
  }
  EXPECT_TRUE(detect(*saved.model, input, {.threshold = 1}).empty());
  Trace trace;
  observe(*saved.model, input, trace, {});
  const RunText& text = trace.plan().text;
  const ItemRange& items = text.items.back();
  for (const DetectedObject& one : all) {
    const float* box = items.boxes.data<float>() + 4 * one.query;
    const bool is_found = one.probability >= 0.5;
    EXPECT_NEAR(static_cast<double>(box[2]), is_found ? one.width : 0, 1e-4);
    EXPECT_NEAR(static_cast<double>(box[0] + box[2] / 2), one.x + one.width / 2, 1e-4);
    EXPECT_EQ(text.pieces[static_cast<size_t>(items.begin + one.query)],
              "query " + std::to_string(one.query + 1) + (is_found ? ": " + one.label : ""));
  }
}

TEST(DetectionTransformer, NamesQueriesByWhatTheyFoundAndGivesThemBoxes) {
  const NetworkFacts facts{.labels = {"cat", "dog"}};
  constexpr int64_t kSide = 64;
  RunText text{.pieces = {"patch 1,1", "query 1", "query 2"}};
  text.items = {{.kind = "patch", .begin = 0, .end = 1, .rows = 1, .picture = Tensor::zeros({kSide, kSide, 3}, DType::kU8)},
                {.kind = "object", .begin = 1, .end = 3}};
  // Query 1 finds a dog in the left half of the picture; query 2 finds nothing.
  const Tensor outputs = Tensor::from<float>({0, 5, 0, 0.25F, 0.5F, 0.5F, 1, 0, 0, 5, 0.5F, 0.5F, 0.5F, 0.5F}, {2, 7});
  describe_objects(facts, outputs, text);
  EXPECT_EQ(text.pieces, (std::vector<std::string>{"patch 1,1", "query 1: dog", "query 2"}));
  EXPECT_EQ(text.items[1].picture.shape(), text.items[0].picture.shape());
  const Tensor& boxes = text.items[1].boxes;
  EXPECT_EQ(std::vector<float>(boxes.data<float>(), boxes.data<float>() + 8), (std::vector<float>{0, 0, 32, 64, 32, 32, 0, 0}));
}

// A bright block of a tall picture, which is scaled by a half and centred: 40 × 20 becomes 20 × 10 in the middle of 20 × 30.
TEST(DetectionTransformer, APictureIsWherePictureScaleSaysAfterItIsFitted) {
  const PictureFacts facts{.channels = 1, .height = 20, .width = 30, .resize = PictureResize::kFit};
  Tensor picture = Tensor::zeros({1, 40, 20});
  for (int64_t row = 8; row < 16; ++row) std::fill_n(picture.mutable_data<float>() + row * 20 + 4, 12, 1.0F);
  const Tensor fitted = fit_image(picture, 20, 30, Resampling::kBox);
  const PictureScale scale = picture_scale(facts, 40, 20);
  const double left = 4 * scale.x + scale.left, right = 16 * scale.x + scale.left, top = 8 * scale.y + scale.top,
               bottom = 16 * scale.y + scale.top;
  EXPECT_EQ(left, 12);
  EXPECT_EQ(top, 4);
  for (int64_t pixel = 0; pixel < fitted.numel(); ++pixel) {
    const double x = static_cast<double>(pixel % 30) + 0.5, y = static_cast<double>(pixel / 30) + 0.5;
    EXPECT_EQ(fitted.data<float>()[pixel], x > left && x < right && y > top && y < bottom ? 1 : 0) << x << ", " << y;
  }
}

TEST(DetectionTransformer, RefusesSizesThatDoNotFit) {
  const auto refused = [](const std::string& from, const std::string& to, const std::string& says) {
    std::string changed = config(1);
    changed.replace(changed.find(from), from.size(), to);
    Parameters parameters;
    expect_refused(ErrorCode::kFormat, says, [&] { (void)network_of(Json::parse(changed, "config"), "config.json", parameters); });
  };
  refused(R"("patch_size": 4)", R"("patch_size": 2)", "a power of two, 4 or more");
  refused(R"("hidden_size": 8)", R"("hidden_size": 6)", "a multiple of 4 and of 2");
  refused(R"("num_queries": 6)", R"("num_queries": 0)", "num_queries");
  refused(R"("id2label": {"0": "cat", "1": "dog", "2": "hen"})", R"("id2label": {})", "the labels");
}

}  // namespace
}  // namespace clearhead
