// The functions of rules in f32, against the C library in double, on every instruction set that this machine supports.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/cpu/cpu.h"
#include "backends/cpu/score/rule_run.h"
#include "tolerance.h"

namespace clearhead::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// f(x) for every x, which the rule reads as the score.
std::vector<float> values_of(InstructionSet isa, const Rule& rule, std::vector<float> x) {
  const size_t count = x.size(), lanes = isa == InstructionSet::kAvx512 ? 16 : 8;
  x.resize((count + lanes - 1) / lanes * lanes, 1.0F);
  const RuleProgram program(rule, false);
  const RuleReverse natural(rule, {});  // the same operations in natural units
  std::vector<float> own(static_cast<size_t>(natural.code.slots) * x.size());
  std::copy(x.begin(), x.end(), own.begin());
  std::vector<float> scalars(static_cast<size_t>(natural.scalar_count() * RuleProgram::kScalarFloats));
  natural.write_scalars(0, 0, scalars.data());
  RuleFrame frame;
  frame.banks[static_cast<size_t>(RuleBank::kScalar)] = {scalars.data(), RuleProgram::kScalarFloats, 0, 0};
  frame.rows = static_cast<int64_t>(x.size() / lanes);
  frame.own = own.data();
  frame.own_step = static_cast<int64_t>(x.size());
  isa == InstructionSet::kAvx512 ? N_AVX3::run_rule(program, natural.code, frame) : N_AVX2::run_rule(program, natural.code, frame);
  const float* result = own.data() + natural.result.slot * frame.own_step;
  return {result, result + count};
}

struct Function {
  const char* name;
  Rule rule;
  double (*exact)(double);
  float low, high;
};

class RuleFunctions : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    if (!cpu_backend(GetParam())) GTEST_SKIP() << "this machine has no " << to_string(GetParam());
  }
};

TEST_P(RuleFunctions, MatchTheCLibraryWithinTolerance) {
  const std::vector<Function> functions = {
      {"exp", rule([](auto s, auto) { return exp(s); }), [](double x) { return std::exp(x); }, -87, 88.7F},
      {"log", rule([](auto s, auto) { return log(s); }), [](double x) { return std::log(x); }, 1e-30F, 100},
      {"log near 1", rule([](auto s, auto) { return log(s); }), [](double x) { return std::log(x); }, 0.7F, 1.45F},
      {"tanh", rule([](auto s, auto) { return tanh(s); }), [](double x) { return std::tanh(x); }, -10, 10},
      {"sqrt", rule([](auto s, auto) { return sqrt(s); }), [](double x) { return std::sqrt(x); }, 0, 1e6F}};
  for (const Function& function : functions) {
    std::vector<float> x;
    for (int i = 0; i <= 100'000; ++i) x.push_back(function.low + (function.high - function.low) * static_cast<float>(i) * 1e-5F);
    const std::vector<float> found = values_of(GetParam(), function.rule, x);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = function.exact(static_cast<double>(x[i]));
      ASSERT_NEAR(static_cast<double>(found[i]), expected, tolerance::kFunction * std::abs(expected) + 1e-37)
          << function.name << " of " << x[i];
    }
  }
}

TEST_P(RuleFunctions, HandleInfinityZeroAndNaNLikeTheCLibrary) {
  const auto one = [&](const Rule& rule, float x) { return values_of(GetParam(), rule, {x})[0]; };
  const Rule exponential = rule([](auto s, auto) { return exp(s); }), logarithm = rule([](auto s, auto) { return log(s); }),
             root = rule([](auto s, auto) { return sqrt(s); });
  EXPECT_EQ(one(exponential, 100), kInfinity);
  EXPECT_EQ(one(exponential, kInfinity), kInfinity);
  EXPECT_EQ(one(exponential, -kInfinity), 0);
  EXPECT_TRUE(std::isnan(one(exponential, NAN)));
  EXPECT_EQ(one(logarithm, 0), -kInfinity);
  EXPECT_EQ(one(logarithm, kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(one(logarithm, -1)) && std::isnan(one(logarithm, NAN)));
  EXPECT_NEAR(static_cast<double>(one(logarithm, 1e-40F)), std::log(1e-40), 1e-3) << "a subnormal number";
  EXPECT_TRUE(std::isnan(one(root, -1)));
}

TEST_P(RuleFunctions, ComparisonsAndStepFunctionsAreExact) {
  const Rule steps =
      rule([](auto s, auto) { return where(s >= 0 && !(s == 2), floor(s), -1) + where(s != s, 100, 0) + max(min(s, 3), 1); });
  const std::vector<float> found = values_of(GetParam(), steps, {-2.5F, 0.0F, 0.99F, 2.0F, 7.5F});
  EXPECT_EQ(found, (std::vector<float>{0, 1, 1, 1, 10}));
}

INSTANTIATE_TEST_SUITE_P(Sets, RuleFunctions, testing::Values(InstructionSet::kAvx2, InstructionSet::kAvx512),
                         [](const auto& isa) { return std::string(to_string(isa.param)); });

}  // namespace
}  // namespace clearhead::cpu
