// The public training interface: AdamW by its formula, schedules, determinism, and models of every family trained in place.
#include "clearhead/train.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/tape.h"
#include "backends/registry.h"
#include "base/file.h"
#include "base/parallel.h"
#include "clearhead/error.h"
#include "clearhead/model.h"
#include "models/transformer.h"
#include "random_tensor.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead::train {
namespace {

TEST(Training, StepsMatchAdamWWithGradientClipping) {
  const OptimiserOptions options{.weight_decay = 0.1, .clip = 0.5};
  Training training(1, options);
  Tensor w = training.parameter(random_tensor({3, 4}, 2));
  const Tensor x = random_tensor({5, 4}, 3);
  const std::vector<int32_t> targets = {0, 2, 1, 1, 0};
  std::vector<double> m(12, 0), v(12, 0), expected;
  for (int64_t i = 0; i < 12; ++i) expected.push_back(static_cast<double>(w.data<float>()[i]));
  for (int step = 1; step <= 3; ++step) {
    training.backward(training.cross_entropy(training.linear(x, w), targets));
    const Tensor gradient = training.gradient(w);
    double norm = 0;
    std::vector<double> g;
    for (int64_t i = 0; i < 12; ++i) {
      g.push_back(static_cast<double>(gradient.data<float>()[i]));
      norm += g.back() * g.back();
    }
    norm = std::sqrt(norm);
    EXPECT_NEAR(training.step(0.01), norm, tolerance::kFew);
    for (size_t i = 0; i < 12; ++i) {
      const double clipped = g[i] * std::min(1.0, 0.5 / norm);
      m[i] = 0.9 * m[i] + 0.1 * clipped;
      v[i] = 0.999 * v[i] + 0.001 * clipped * clipped;
      const double move = m[i] / (1 - std::pow(0.9, step)) / (std::sqrt(v[i] / (1 - std::pow(0.999, step))) + 1e-8);
      expected[i] -= 0.01 * (move + 0.1 * expected[i]);
      EXPECT_NEAR(static_cast<double>(w.data<float>()[i]), expected[i], tolerance::kStep) << "step " << step << ", element " << i;
    }
  }
}

TEST(Schedules, RiseAndFallAsTheirFormulasSay) {
  const Schedule cosine{.kind = Schedule::Kind::kCosine, .learning_rate = 1, .warmup = 10, .steps = 110, .min_ratio = 0.1};
  EXPECT_DOUBLE_EQ(cosine.at(0), 0.1);
  EXPECT_DOUBLE_EQ(cosine.at(9), 1);
  EXPECT_NEAR(cosine.at(60), 0.55, tolerance::kDouble);
  EXPECT_DOUBLE_EQ(cosine.at(500), 0.1);
  const Schedule linear{.kind = Schedule::Kind::kLinear, .learning_rate = 2, .warmup = 0, .steps = 100};
  EXPECT_DOUBLE_EQ(linear.at(0), 2);
  EXPECT_DOUBLE_EQ(linear.at(25), 1.5);
  const Schedule noam{.kind = Schedule::Kind::kNoam, .learning_rate = 1, .warmup = 100};
  EXPECT_DOUBLE_EQ(noam.at(49), 0.5);
  EXPECT_DOUBLE_EQ(noam.at(99), 1);
  EXPECT_DOUBLE_EQ(noam.at(399), 0.5);
  EXPECT_DOUBLE_EQ((Schedule{.learning_rate = 3}).at(1000), 3);
  const Schedule cooled{.kind = Schedule::Kind::kNoam, .learning_rate = 1, .warmup = 100, .steps = 600, .cooldown = 200, .min_ratio = 0.2};
  for (const int64_t step : {0, 99, 250, 400}) EXPECT_DOUBLE_EQ(cooled.at(step), noam.at(step));
  EXPECT_DOUBLE_EQ(cooled.at(500), noam.at(500) * 0.6);
  EXPECT_DOUBLE_EQ(cooled.at(600), noam.at(600) * 0.2);
}

// The weights of a small network with dropout after a few steps.
std::vector<float> trained(int with_threads) {
  const int before = threads();
  set_threads(with_threads);
  Training training(5);
  const Tensor table = training.parameter({50, 64}, 0.1), up = training.parameter({256, 64}, 0.1),
               down = training.parameter({50, 256}, 0.1);
  const Tensor gain = training.parameter(Tensor::from(std::vector<float>(64, 1.0F), {64}));
  std::vector<int32_t> ids, targets;
  for (int32_t i = 0; i < 300; ++i) ids.push_back(i * 7 % 50), targets.push_back(i * 3 % 50);
  for (int step = 0; step < 4; ++step) {
    const Tensor x = training.norm(training.embed(table, ids), gain);
    const Tensor heads = x.reshape({1, 300, 4, 16}).permute({0, 2, 1, 3});
    const Tensor seen = training.attend(heads, heads, heads, {.topology = causal(), .after = {.dropout = Dropout{.rate = 0.1F, .seed = 9}}})
                            .permute({0, 2, 1, 3})
                            .reshape({300, 64});
    const Tensor inner = training.dropout(training.activate("gelu", training.linear(seen, up)), 0.1);
    training.step(training.cross_entropy(training.linear(inner, down), targets, 0.1), 1e-2);
  }
  set_threads(before);
  std::vector<float> out;
  for (const Tensor& t : {table, up, down, gain}) out.insert(out.end(), t.data<float>(), t.data<float>() + t.numel());
  return out;
}

TEST(Training, WeightsAfterStepsAreTheSameBitsForAnyThreads) {
  const std::vector<float> one = trained(1);
  EXPECT_EQ(one, trained(2));
  EXPECT_EQ(one, trained(3));
}

TEST(Training, ANonFiniteGradientIsRefusedAndChangesNothing) {
  Training training;
  const Tensor w = training.parameter(Tensor::from<float>({1, 2}, {1, 2}));
  const Tensor x = Tensor::from<float>({INFINITY, 1, 1, 1}, {2, 2});
  training.backward(training.cross_entropy(training.linear(x, w), {0, 0}));
  expect_refused(ErrorCode::kInvalidArgument,
                 "step 0: the gradient of a parameter of shape [1, 2] is not finite (NaN at element 0); nothing was changed",
                 [&] { training.step(0.1); });
  EXPECT_EQ(w.data<float>()[0], 1);
}

// --- whole models ------------------------------------------------------------------------------------------------------------------------

struct Live {
  Live(const std::string& family, const std::string& variant)
      : directory(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/" + family + "/" + variant),
        facts(read_architecture(Json::parse(read_file(directory + "/config.json"), "config.json"), directory + "/config.json")),
        parameters(Parameters::read(directory + "/model.safetensors")),
        transformer(facts, parameters, heads_in_file(facts, io::SafeTensors::open_model(directory))) {}
  std::string directory;
  Architecture facts;
  Parameters parameters;
  Transformer transformer;
};

// Two sequences of length 9. An encoder-decoder has them as padded targets, for two padded sources of length 6.
struct SomeInput {
  explicit SomeInput(const Architecture& facts) {
    std::vector<int32_t> ids;
    for (int32_t row = 0; row < 18; ++row) ids.push_back(static_cast<int32_t>(row * 5 % facts.vocabulary));
    target = facts.encoder ? plain_input(2, 9, ids, {7, 9}) : plain_input(2, 9, ids);
    if (facts.encoder) source = plain_input(2, 6, {ids.begin(), ids.begin() + 12}, {6, 4});
  }
  SomeInput(const SomeInput&) = delete;
  SomeInput& operator=(const SomeInput&) = delete;
  ForwardInput input() const {
    ForwardInput out = target;
    if (source.batch > 0) out.source = &source;
    return out;
  }
  bool is_padding(int64_t row) const { return row % target.length >= target.lengths[static_cast<size_t>(row / target.length)]; }
  ForwardInput target{}, source{};
};
Batch batch_of(const ForwardInput& input) {
  return {.batch = input.batch, .length = input.length, .ids = input.ids, .lengths = input.lengths};
}

const Tensor& logits_of(const RunResult& result) { return result.causal_logits.defined() ? result.causal_logits : result.masked_logits; }

struct Family {
  const char *family, *variant;
};
class TrainedFamily : public testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(Families, TrainedFamily,
                         testing::Values(Family{"gpt2", "plain"}, Family{"llama", "gqa"}, Family{"llama", "mistral"}, Family{"bert", "mlm"},
                                         Family{"marian", "shared"}, Family{"marian", "apart"}),
                         [](const auto& of) { return std::string(of.param.family) + "_" + of.param.variant; });

TEST_P(TrainedFamily, LiveWeightsGiveTheLogitsOfTheLoadedModel) {
  const Live live(GetParam().family, GetParam().variant);
  Arena arena;
  clearhead::Run run{arena};
  const SomeInput some(live.facts);
  const RunResult found = live.transformer.forward(run, some.input(), {});
  const auto model = load(live.directory, {.tokenizer = false});
  const RunResult expected =
      live.facts.encoder ? model->run_from(batch_of(some.source), batch_of(some.target)) : model->run(batch_of(some.target));
  const Tensor &a = logits_of(found), &b = logits_of(expected);
  ASSERT_EQ(a.shape(), b.shape());
  for (int64_t i = 0; i < a.numel(); ++i) ASSERT_NEAR(a.data<float>()[i], b.data<float>()[i], tolerance::kTrainedAsRun) << i;
}

// L(w + h·g/‖g‖) − L(w − h·g/‖g‖) = 2h·‖g‖ + O(h³): the whole model's gradient at once.
void expect_the_loss_falls(const Family& of, float dropped) {
  choose_backend("ref");
  Live live(of.family, of.variant);
  const SomeInput some(live.facts);
  std::vector<int32_t> targets(some.target.ids.rbegin(), some.target.ids.rend());
  for (int64_t row = 0; row < 18; ++row) {
    if (some.is_padding(row)) targets[static_cast<size_t>(row)] = -100;
  }
  Arena arena;
  Tape tape;
  const auto loss = [&](Recorder* recorder) {
    RunDropout dropout{.rate = dropped, .attention = dropped, .seed = 3};
    clearhead::Run run{arena, nullptr, recorder, &dropout};
    const RunResult result = live.transformer.forward(run, some.input(), {});
    return ops::cross_entropy(run, logits_of(result).reshape({18, live.facts.vocabulary}), targets);
  };
  for (const Tensor& leaf : live.parameters.leaves()) tape.watch(leaf);
  tape.backward(loss(&tape));
  double squares = 0;
  std::vector<Tensor> gradients;
  for (const Tensor& leaf : live.parameters.leaves()) {
    gradients.push_back(tape.gradient(leaf));
    squares += backend().gradients.sum_of_squares(gradients.back().data<float>(), gradients.back().numel());
  }
  const double norm = std::sqrt(squares);
  const auto moved = [&](double step) {
    const auto move = [&](double by) {
      for (size_t at = 0; at < gradients.size(); ++at) {
        Tensor values = live.parameters.leaves()[at];
        float* to = values.mutable_data<float>();
        for (int64_t i = 0; i < values.numel(); ++i)
          to[i] += static_cast<float>(by * static_cast<double>(gradients[at].data<float>()[i]) / norm);
      }
    };
    move(step);
    const double value = static_cast<double>(*loss(nullptr).data<float>());
    move(-step);
    return value;
  };
  const double slope = (moved(2e-2) - moved(-2e-2)) / 4e-2, finer = (moved(1e-2) - moved(-1e-2)) / 2e-2;
  EXPECT_NEAR((4 * finer - slope) / 3, norm, tolerance::kSlopeOfLoss * norm);
  EXPECT_GT(norm, 0.01);
  choose_backend(runnable_backends().back()->isa == InstructionSet::kAvx512 ? "avx512" : "avx2");
}

// All gradients of a family's parameters concatenated, with dropout; also measures the most memory that the tape used.
std::vector<float> gradients_of(const Family& of, bool checkpoints, DType operands) {
  const Live live(of.family, of.variant);
  const SomeInput some(live.facts);
  std::vector<int32_t> targets(some.target.ids.rbegin(), some.target.ids.rend());
  Arena arena;
  Tape tape;
  for (const Tensor& leaf : live.parameters.leaves()) tape.watch(leaf);
  RunDropout dropout{.rate = 0.2F, .attention = 0.2F, .seed = 3};
  clearhead::Run run{.arena = arena, .recorder = &tape, .dropout = &dropout, .operands = operands, .checkpoints = checkpoints};
  const RunResult result = live.transformer.forward(run, some.input(), {});
  tape.backward(ops::cross_entropy(run, logits_of(result).reshape({18, live.facts.vocabulary}), targets));
  std::vector<float> out;
  for (const Tensor& leaf : live.parameters.leaves()) {
    const Tensor gradient = tape.gradient(leaf);
    out.insert(out.end(), gradient.data<float>(), gradient.data<float>() + gradient.numel());
  }
  return out;
}

TEST_P(TrainedFamily, CheckpointedLayersGiveTheSameGradients) {
  for (const DType operands : {DType::kF32, DType::kBF16})
    EXPECT_EQ(gradients_of(GetParam(), true, operands), gradients_of(GetParam(), false, operands));
}

// Each of some twenty products in a row, and as many in the backward pass, has two operands whose relative error is at most 2⁻⁸, about 2⁻⁹ in
// the root mean square: √80·2⁻⁹ is 1.7 % if the errors are independent. Sums that cancel and kinks of ReLU lose more: 3.2 % was measured.
TEST_P(TrainedFamily, GradientsOfRoundedOperandsAreNearThoseOfF32) {
  const std::vector<float> exact = gradients_of(GetParam(), false, DType::kF32), narrow = gradients_of(GetParam(), false, DType::kBF16);
  double off = 0, all = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    off += std::pow(static_cast<double>(narrow[i]) - static_cast<double>(exact[i]), 2);
    all += std::pow(static_cast<double>(exact[i]), 2);
  }
  EXPECT_LT(std::sqrt(off / all), tolerance::kModelGradientBF16);
  EXPECT_GT(std::sqrt(off / all), 1e-4) << "nothing was rounded";
}

TEST_P(TrainedFamily, TheSlopeAlongTheGradientEqualsItsNorm) { expect_the_loss_falls(GetParam(), 0); }

TEST_P(TrainedFamily, TheSlopeAlongTheGradientEqualsItsNormWithDropout) { expect_the_loss_falls(GetParam(), 0.2F); }

}  // namespace
}  // namespace clearhead::train
