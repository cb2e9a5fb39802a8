// The public training ops on small numbers; and small convolutional, recurrent and linear-attention networks that learn.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "clearhead/train.h"
#include "largest.h"
#include "refused.h"
#include "tolerance.h"
#include "values.h"

namespace clearhead::train {
namespace {

TEST(TrainingOps, GiveTheExpectedValuesOnSmallInputs) {
  Training training;
  const Tensor x = Tensor::from<float>({1, 5, 2, 4, 3, 9}, {2, 3}), row = Tensor::from<float>({1, 0, -1}, {1, 3});
  EXPECT_EQ(values_of(training.multiply(x, row.expand({2, 3}))), (Floats{1, 0, -2, 4, 0, -9}));
  EXPECT_EQ(values_of(training.sum(x, 0)), (Floats{5, 8, 11}));
  EXPECT_EQ(values_of(training.mean(x, -2)), (Floats{2.5, 4, 5.5}));
  EXPECT_EQ(values_of(training.max(x, 1)), (Floats{5, 9}));
  EXPECT_EQ(values_of(training.concat({x, row}, 0)), (Floats{1, 5, 2, 4, 3, 9, 1, 0, -1}));
  EXPECT_EQ(values_of(training.concat({x.slice(1, 2, 3), x.slice(1, 0, 1)}, -1)), (Floats{2, 1, 9, 4}));
  EXPECT_EQ(values_of(training.contiguous(x.permute({1, 0})).reshape({6})), (Floats{1, 4, 5, 3, 2, 9}));
  EXPECT_EQ(values_of(training.index_add(x, {2, 2}, 3)), (Floats{0, 0, 0, 0, 0, 0, 5, 8, 11}));
  EXPECT_EQ(values_of(training.softmax(Tensor::from<float>({7, 7, -INFINITY, -INFINITY}, {1, 4}))), (Floats{0.5, 0.5, 0, 0}));
  const Tensor sequence = x.reshape({1, 1, 6});
  EXPECT_EQ(values_of(training.conv(sequence, Tensor::from<float>({1, -1}, {1, 1, 2}), Tensor::from<float>({10}, {1}), {.stride = {1, 2}})),
            (Floats{6, 8, 4}));
  EXPECT_EQ(training.conv(sequence, Tensor::zeros({4, 1, 3})).shape(), (Shape{1, 4, 4}));
  EXPECT_EQ(values_of(training.max_pool(sequence, {.kernel = {1, 3}, .stride = {1, 3}})), (Floats{5, 9}));
  EXPECT_EQ(values_of(training.avg_pool(x.reshape({1, 1, 2, 3}), {.kernel = {2, 2}})), (Floats{3.25, 4.75}));
}

TEST(TrainingOps, BatchNormUpdatesRunningStatisticsAndEvaluatesWithThem) {
  Training training;
  const Tensor x = Tensor::from<float>({1, 3, 5, 7}, {4, 1}), one = Tensor::from<float>({1}, {1}), zero = Tensor::zeros({1});
  RunningStatistics running{.momentum = 0.5};
  training.batch_norm(x, one, zero, running);
  EXPECT_EQ(values_of(running.mean), (Floats{2}));                                  // half of 4
  EXPECT_NEAR(running.variance.data<float>()[0], 0.5 + 20.0 / 6, tolerance::kFew);  // half of 1 and of 20/3
  const float scale = 1 / std::sqrt(running.variance.data<float>()[0]);
  EXPECT_NEAR(training.batch_norm(x, one, zero, running, false).data<float>()[3], 5 * scale, 10 * tolerance::kSum);
  EXPECT_EQ(values_of(running.mean), (Floats{2}));
}

Tensor waves(const Shape& shape, double step) {
  Tensor out = Tensor::zeros(shape);
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data<float>()[i] = static_cast<float>(std::sin(step * static_cast<double>(i)));
  return out;
}

// Mixed precision is f32 arithmetic on rounded operands; attention is attend() of the rounded
// operands, in the forward and the backward pass.
TEST(TrainingOps, OperandsInBf16AreReadRoundedAndResultsStayF32) {
  const auto in_bf16 = [](const Tensor& t) { return to_dtype(t, DType::kBF16); };
  Training training(1, {}, DType::kBF16), plain;
  const Tensor x = waves({5, 12}, 0.7), weight = waves({7, 12}, 1.3);
  const Tensor found = training.linear(x, training.parameter(weight)), expected = plain.linear(to_f32(in_bf16(x)), to_f32(in_bf16(weight))),
               unrounded = plain.linear(x, weight);
  for (int64_t i = 0; i < found.numel(); ++i) EXPECT_NEAR(found.data<float>()[i], expected.data<float>()[i], tolerance::kSum);
  EXPECT_GT(largest_difference(found.data<float>(), unrounded.data<float>(), found.numel()), 1e-4) << "nothing was rounded";

  const Tensor q = training.parameter(waves({1, 2, 9, 8}, 0.9)), k = waves({1, 2, 9, 8}, 0.4), v = waves({1, 2, 9, 8}, 0.3);
  const Tensor out = training.attend(q, k, v, {.topology = causal()});
  const Attended narrow = attend(in_bf16(q), in_bf16(k), in_bf16(v), {.topology = causal()});
  EXPECT_EQ(out.dtype(), DType::kF32);
  EXPECT_EQ(out.permute({0, 2, 1, 3}).is_contiguous(), true);
  EXPECT_EQ(values_of(out), values_of(to_f32(narrow.out)));
  const Tensor upstream = waves({1, 2, 9, 8}, 0.2);
  Tensor loss = training.multiply(training.contiguous(out), upstream);
  for (int axis = 3; axis >= 0; --axis) loss = training.sum(loss, axis);
  training.backward(loss);
  const AttendGradients gradients = attend_gradients(narrow.record, in_bf16(v), narrow.out, in_bf16(upstream));
  EXPECT_EQ(values_of(training.gradient(q)), values_of(to_f32(gradients.q)));
  expect_refused(ErrorCode::kUnsupported, "operands of f16; expected f32 or bf16", [] { Training(1, {}, DType::kF16); });
}

TEST(TrainingOps, InvalidAxesAndShapesAreRefused) {
  Training training;
  const Tensor x = Tensor::zeros({2, 3});
  RunningStatistics running;
  const auto refused = [](const char* says, const auto& call) { expect_refused(ErrorCode::kShape, says, call); };
  refused("axis 2 is out of range for shape [2, 3]", [&] { training.sum(x, 2); });
  refused("axis -3 is out of range for shape [2, 3]", [&] { training.concat({x, x}, -3); });
  refused("no parts", [&] { training.concat({}, 0); });
  refused("multiply: [2, 3] by [3, 2]", [&] { training.multiply(x, Tensor::zeros({3, 2})); });
  refused("index_add: x is [6]", [&] { training.index_add(x.reshape({6}), {0}, 1); });
  refused("convolution: found [2, 3]", [&] { training.conv(x, x); });
  refused("pooling: found [2, 3]", [&] { training.max_pool(x, {}); });
  refused("batch norm: x is [6]", [&] { training.batch_norm(x.reshape({6}), x, x, running); });
  refused("recurrence: x is [2, 3]", [&] { training.gru(x, {}); });
  refused("recurrence: x is [2, 3]", [&] { training.lstm(x, {}); });
}

// Bars in noise: is a bar horizontal or vertical?
TEST(TrainingOps, AConvolutionalNetworkLearnsWhichWayABarLies) {
  std::mt19937 random(3);
  std::normal_distribution<float> noise(0, 0.3F);
  const auto draw = [&](std::vector<int32_t>& stands) {
    Tensor images = Tensor::empty({32, 1, 8, 8});
    float* to = images.mutable_data<float>();
    stands.clear();
    for (int64_t n = 0; n < 32; ++n) {
      stands.push_back(static_cast<int32_t>(random() % 2));
      const int64_t at = random() % 8;
      for (int64_t i = 0; i < 64; ++i) to[n * 64 + i] = noise(random) + ((stands.back() ? i % 8 : i / 8) == at ? 1.0F : 0.0F);
    }
    return images;
  };
  Training training(2);
  const Tensor filters = training.parameter({6, 1, 3, 3}, 0.3), bias = training.parameter({6}, 0);
  const Tensor gain = training.parameter(Tensor::from(Floats(6, 1), {6})), shift = training.parameter({6}, 0);
  const Tensor read = training.parameter({2, 6}, 0.3);
  RunningStatistics running;
  const auto logits = [&](const Tensor& images, bool learns) {
    const Tensor found = training.batch_norm(training.conv(images, filters, bias, {.padding = {1, 1}}), gain, shift, running, learns);
    const Tensor pooled = training.max_pool(training.activate("relu", found), {.kernel = {2, 2}, .stride = {2, 2}});
    return training.linear(training.mean(pooled.reshape({images.size(0), 6, 16}), 2), read);
  };
  std::vector<int32_t> stands;
  for (int step = 0; step < 120; ++step) {
    const Tensor images = draw(stands);
    training.step(training.cross_entropy(logits(images, true), stands), 0.03);
  }
  const Tensor images = draw(stands);
  const Floats found = values_of(logits(images, false));
  int right = 0;
  for (size_t n = 0; n < stands.size(); ++n) right += (found[2 * n + 1] > found[2 * n]) == (stands[n] == 1);
  EXPECT_GE(right, 31);
}

// The first token of a sequence of any length is still known at its end; for a sequence that is
// read backwards, the last token at its beginning.
TEST(TrainingOps, AnLstmRemembersWhatItReadFirst) {
  constexpr int64_t kBatch = 32, kTime = 9, kTokens = 4, kHidden = 16;
  for (const bool backwards : {false, true}) {
    std::mt19937 random(4);
    Training training(3, {.clip = 0});
    const Tensor table = training.parameter({kTokens, 8}, 0.7), read = training.parameter({kTokens, kHidden}, 0.3);
    Recurrence layer{.input_weight = training.parameter({4 * kHidden, 8}, 0.3),
                     .hidden_weight = training.parameter({4 * kHidden, kHidden}, 0.3)};
    layer.input_bias = training.parameter({4 * kHidden}, 0);
    layer.backwards = backwards;
    float loss = 0;
    for (int step = 0; step < 200; ++step) {
      std::vector<int32_t> tokens, targets;
      layer.lengths.clear();
      for (int64_t i = 0; i < kBatch * kTime; ++i) tokens.push_back(static_cast<int32_t>(random() % kTokens));
      for (int64_t b = 0; b < kBatch; ++b) {
        layer.lengths.push_back(1 + static_cast<int32_t>(random() % kTime));
        targets.push_back(tokens[static_cast<size_t>(b * kTime + (backwards ? layer.lengths.back() - 1 : 0))]);
      }
      const Tensor states = training.lstm(training.embed(table, tokens).reshape({kBatch, kTime, 8}), layer).state;
      const Tensor mean = training.cross_entropy(training.linear(states.select(1, backwards ? 0 : kTime - 1), read), targets);
      loss = *mean.data<float>();
      training.step(mean, 0.02);
    }
    EXPECT_LT(loss, 0.1F);
  }
}

// A query that looks for the key of its own class, among keys whose values contain the class:
// linear attention learns it through its features.
TEST(TrainingOps, LinearAttentionLearnsThroughItsFeatures) {
  const Tensor projection = orthogonal_projection(16, 4, 3);
  for (const bool random : {false, true}) {
    Training training(5);
    const Tensor w_q = training.parameter({4, 3}, 0.5), w_k = training.parameter({4, 3}, 0.5);
    const Tensor kinds = Tensor::from<float>({1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
    const auto features = [&](const Tensor& weight, FeatureShift shift) {
      const Tensor x = training.linear(kinds, weight).reshape({1, 1, 3, 4});
      return random ? training.positive_random_features(x, projection, shift) : training.elu_plus_one(x);
    };
    double first = 0, last = 0;
    for (int step = 0; step < 200; ++step) {
      const Tensor q = features(w_q, FeatureShift::kEachRow), k = features(w_k, FeatureShift::kAllRows);
      const Tensor seen = training.attend(q, k, kinds.reshape({1, 1, 3, 3}), {.score = Dot{1}, .normaliser = LinearAttention{}});
      const Tensor logits = training.multiply(training.contiguous(seen).reshape({3, 3}), Tensor::from<float>({9}, {1, 1}).expand({3, 3}));
      const Tensor loss = training.cross_entropy(logits, {0, 1, 2});
      (step == 0 ? first : last) = static_cast<double>(loss.data<float>()[0]);
      training.step(loss, 0.05);
    }
    EXPECT_GT(first, 0.9) << random;
    EXPECT_LT(last, 0.1) << random;
  }
}

}  // namespace
}  // namespace clearhead::train
