// Optimisers against the steps of torch.optim, and which parameters belong to a group.
#include "autograd/optimiser.h"

#include <gtest/gtest.h>

#include "backends/registry.h"
#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "clearhead/error.h"
#include "tolerance.h"

namespace clearhead {
namespace {

OptimiserOptions options_of(const Json& json) {
  using Kind = OptimiserOptions::Kind;
  const auto number = [](const Json& of, const char* name, double otherwise) {
    return of.find(name) ? of.find(name)->number() : otherwise;
  };
  const std::string kind = json.find("kind")->string();
  OptimiserOptions out{.kind = kind == "sgd" ? Kind::kSgd : kind == "adam" ? Kind::kAdam : Kind::kAdamW, .clip = 0};
  out.beta1 = number(json, "beta1", out.beta1);
  out.beta2 = number(json, "beta2", out.beta2);
  out.epsilon = number(json, "epsilon", out.epsilon);
  out.momentum = number(json, "momentum", 0);
  out.nesterov = json.find("nesterov") != nullptr;
  out.weight_decay = number(json, "decay", 0);
  if (const Json* groups = json.find("groups")) {
    for (const Json& group : groups->items()) {
      out.groups.push_back({group.find("match")->string(), number(group, "rate", 1)});
      if (const Json* decay = group.find("decay")) out.groups.back().weight_decay = decay->number();
    }
  }
  return out;
}

std::vector<float> floats_of(const Json& list) {
  std::vector<float> out;
  for (const Json& item : list.items()) out.push_back(static_cast<float>(item.number()));
  return out;
}

class OptimiserOn : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { choose_backend(GetParam()); }
  void TearDown() override { choose_backend(kFastest); }
  static inline const std::string kFastest = runnable_backends().back()->isa == InstructionSet::kAvx512 ? "avx512" : "avx2";
};
INSTANTIATE_TEST_SUITE_P(Backends, OptimiserOn, testing::Values("ref", "avx2"), [](const auto& of) { return std::string(of.param); });

// Both parameters are in one leaf, as q, k and v of a projection are.
TEST_P(OptimiserOn, StepsAreThoseOfPyTorch) {
  const Json golden = Json::parse(read_file(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/optimisers/steps.json"), "steps.json");
  const double rate = golden.find("rate")->number();
  std::vector<float> start;
  std::vector<Optimiser::Named> names;
  for (const auto& [name, values] : golden.find("start")->fields()) {
    const std::vector<float> of_one = floats_of(values);
    names.push_back({name, static_cast<int64_t>(start.size()), static_cast<int64_t>(start.size() + of_one.size())});
    start.insert(start.end(), of_one.begin(), of_one.end());
  }
  ASSERT_GT(golden.find("cases")->size(), 5U);
  ASSERT_GT(golden.find("gradients")->size(), 2U);
  for (const Json& golden_case : golden.find("cases")->items()) {
    SCOPED_TRACE(golden_case.find("options")->dump());
    Tape tape;
    Optimiser optimiser(options_of(*golden_case.find("options")));
    Tensor leaf = Tensor::from(start, {static_cast<int64_t>(start.size())});
    tape.watch(leaf);
    optimiser.add(leaf, true, names);
    for (size_t step = 0; step < golden.find("gradients")->items().size(); ++step) {
      Tensor gradient = tape.gradient(leaf);
      for (const Optimiser::Named& named : names) {
        const std::vector<float> values = floats_of(*golden.find("gradients")->items()[step].find(named.name));
        std::copy(values.begin(), values.end(), gradient.mutable_data<float>() + named.begin);
      }
      optimiser.step(tape, rate);
      for (const Optimiser::Named& named : names) {
        const Json::Array expected = golden_case.find("weights")->items()[step].find(named.name)->items();
        ASSERT_EQ(std::ssize(expected), named.end - named.begin);
        for (size_t i = 0; i < expected.size(); ++i) {
          const double found = static_cast<double>(leaf.data<float>()[static_cast<size_t>(named.begin) + i]);
          // A step rounds a few numbers of the magnitude of the weight and of its change.
          ASSERT_NEAR(found, expected[i].number(), tolerance::kOptimiser) << "step " << step << ", " << named.name << "[" << i << "]";
        }
      }
    }
  }
}

// As in PyTorch with requires_grad false: a frozen parameter has no optimiser state, and the norm that is clipped is that of the others.
TEST(Optimisers, FrozenGroupsAreExcludedFromTheGradientNorm) {
  Tape tape;
  Optimiser optimiser({.kind = OptimiserOptions::Kind::kSgd, .clip = 1, .groups = {{"frozen", 0}}});
  Tensor both = Tensor::from(std::vector<float>{1, 1, 1, 1}, {4}), frozen = Tensor::from(std::vector<float>{1, 1}, {2});
  EXPECT_TRUE(optimiser.add(both, true, {{"a.frozen", 0, 2}, {"a.moves", 2, 4}}));
  EXPECT_FALSE(optimiser.add(frozen, true, {{"b.frozen", 0, 2}}));
  tape.watch(both);
  const std::vector<float> gradient{100, 100, 3, 4};
  std::copy(gradient.begin(), gradient.end(), tape.gradient(both).mutable_data<float>());
  EXPECT_DOUBLE_EQ(optimiser.step(tape, 0.5), 5);
  const float* after = both.data<float>();
  EXPECT_EQ(std::vector<float>(after, after + 2), (std::vector<float>{1, 1}));
  EXPECT_NEAR(after[2], 1 - 0.5 * 3 / 5, tolerance::kOptimiser);
  EXPECT_NEAR(after[3], 1 - 0.5 * 4 / 5, tolerance::kOptimiser);
  EXPECT_EQ(frozen.data<float>()[0], 1);
}

std::string refusal_of(const OptimiserOptions& options) {
  try {
    Optimiser optimiser(options);
    optimiser.add(Tensor::zeros({4}), true, {{"h.0.bias", 0, 2}, {"h.12.bias", 2, 4}});
    optimiser.add(Tensor::zeros({2, 2}), true, {{"wte.weight", 0, 4}});
    optimiser.check_groups();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Optimisers, AGroupThatMatchesNothingIsRefusedWithTheNamesThereAre) {
  EXPECT_EQ(refusal_of({.groups = {{"bias"}, {"wte"}}}), "");
  EXPECT_EQ(refusal_of({.groups = {{"norm"}}}),
            "optimiser: no parameter has \"norm\" as its first matching group; the names are h.*.bias, wte.weight");
  EXPECT_EQ(refusal_of({.groups = {{"h"}, {"bias"}}}),
            "optimiser: no parameter has \"bias\" as its first matching group; the names are h.*.bias, wte.weight");
  EXPECT_EQ(refusal_of({.groups = {{"("}}}).find("optimiser: the \"match\" of a group: the regular expression \"(\" is not understood: "),
            0U);
}

TEST(Optimisers, OptionsThatDoNotGoTogetherAreRefused) {
  using Kind = OptimiserOptions::Kind;
  EXPECT_EQ(refusal_of({.momentum = 0.9}), "optimiser: momentum is 0.9; expected 0: momentum is for SGD; Adam has beta1");
  EXPECT_EQ(refusal_of({.kind = Kind::kSgd, .nesterov = true}),
            "optimiser: momentum is 0; expected more than 0 with nesterov, which is for SGD");
  EXPECT_EQ(refusal_of({.kind = Kind::kSgd, .momentum = 1}), "optimiser: momentum is 1; expected 0 or more, and less than 1");
  EXPECT_EQ(refusal_of({.beta2 = 1}), "optimiser: beta2 is 1; expected 0 or more, and less than 1");
  EXPECT_EQ(refusal_of({.groups = {{"bias", -1}}}), "optimiser: a group's learning_rate_scale is -1; expected 0 or more");
}

TEST(Optimisers, KeepOnlyTheStateThatTheirAlgorithmNeeds) {
  using Kind = OptimiserOptions::Kind;
  const auto kept = [](const OptimiserOptions& options) {
    Optimiser optimiser(options);
    optimiser.add(Tensor::zeros({3}), true, {});
    std::string names;
    for (const auto& [name, sum] : optimiser.sums(0)) names += format("{}{} ", name, to_string(sum.shape()));
    return names;
  };
  EXPECT_EQ(kept({}), "m[3] v[3] ");
  EXPECT_EQ(kept({.kind = Kind::kAdam}), "m[3] v[3] ");
  EXPECT_EQ(kept({.kind = Kind::kSgd, .momentum = 0.9}), "momentum[3] ");
  EXPECT_EQ(kept({.kind = Kind::kSgd}), "");
  Optimiser frozen({.groups = {{"table", 0}}});
  frozen.add(Tensor::zeros({3}), true, {{"table", 0, 3}});
  EXPECT_TRUE(frozen.sums(0).empty());
}

}  // namespace
}  // namespace clearhead
