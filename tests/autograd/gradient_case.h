// Shared by the tests of recorded ops: compares gradients with differences of a formula in double, on the backend under test.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "backends/registry.h"
#include "base/parallel.h"
#include "ops/ops.h"
#include "random_tensor.h"
#include "tolerance.h"

namespace clearhead {

using Values = std::vector<double>;
using Formula = std::function<Values(const std::vector<Values>&)>;              // inputs → outputs
using Recorded = std::function<Tensor(clearhead::Run&, std::vector<Tensor>&)>;  // the same as recorded ops

inline Values values_of(const Tensor& t) {
  const Tensor whole = t.contiguous();
  return {whole.data<float>(), whole.data<float>() + whole.numel()};
}

// Σ w_i·x_i with fixed w, as a recorded op: turns any result into a loss.
inline double factor(size_t i) { return std::sin(1.0 + 0.7 * static_cast<double>(i)); }
inline Tensor weighted_sum(clearhead::Run& run, const Tensor& x) {
  Tensor loss = Tensor::zeros({1});
  const Values values = values_of(x);
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += factor(i) * values[i];
  *loss.mutable_data<float>() = static_cast<float>(sum);
  run.recorder->record("weighted_sum", loss, {}, [=](Gradients& gradients) {
    Tensor factors = Tensor::empty(x.shape());
    for (int64_t i = 0; i < x.numel(); ++i) factors.mutable_data<float>()[i] = static_cast<float>(factor(static_cast<size_t>(i)));
    Gradients::Place to = gradients.place(x);
    ops::add_strided(factors, to.gradient, to.accumulate);
  });
  return loss;
}

inline double loss_of(const Formula& formula, const std::vector<Values>& inputs) {
  const Values out = formula(inputs);
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) sum += factor(i) * out[i];
  return sum;
}

// Central differences with two steps, extrapolated.
inline double difference(const Formula& formula, std::vector<Values> inputs, size_t input, size_t i) {
  const double at = inputs[input][i];
  const auto slope = [&](double step) {
    inputs[input][i] = at + step;
    const double above = loss_of(formula, inputs);
    inputs[input][i] = at - step;
    return (above - loss_of(formula, inputs)) / (2 * step);
  };
  return (4 * slope(5e-4) - slope(1e-3)) / 3;
}

class TapeOn : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { choose_backend(GetParam()); }
  void TearDown() override { choose_backend(kFastest); }
  static inline const std::string kFastest = [] {
    const Backend* last = runnable_backends().back();
    return std::string(last->isa == InstructionSet::kAvx512 ? "avx512" : last->isa == InstructionSet::kAvx2 ? "avx2" : "ref");
  }();

  static void expect_gradients(std::vector<Tensor> inputs, const Recorded& recorded, const Formula& formula) {
    Arena arena;
    Tape tape;
    clearhead::Run run{arena, nullptr, &tape};
    std::vector<Values> given;
    for (const Tensor& input : inputs) {
      tape.watch(input);
      given.push_back(values_of(input));
    }
    const Tensor out = recorded(run, inputs);
    const Values expected = formula(given), found = values_of(out);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
      ASSERT_NEAR(found[i], expected[i], tolerance::kResult * std::max(1.0, std::abs(expected[i]))) << "result " << i;
    tape.backward(weighted_sum(run, out));
    EXPECT_EQ(tape.recorded(), 0);
    for (size_t input = 0; input < inputs.size(); ++input) {
      const Values gradient = values_of(tape.gradient(inputs[input]));
      ASSERT_EQ(gradient.size(), given[input].size());
      for (size_t i = 0; i < gradient.size(); ++i) {
        const double wanted = difference(formula, given, input, i);
        ASSERT_NEAR(gradient[i], wanted, tolerance::kSlopeOfResult * std::max(1.0, std::abs(wanted)))
            << "input " << input << ", element " << i;
      }
    }
  }

  // The result and every gradient, with one thread and with more. The inputs should be large enough to be distributed over threads.
  static void expect_the_same_bits_for_any_threads(const std::vector<Tensor>& inputs, const Recorded& recorded) {
    const int before = threads();
    std::vector<Values> first;
    for (const int count : {1, 2, 5}) {
      set_threads(count);
      Arena arena;
      Tape tape;
      clearhead::Run run{arena, nullptr, &tape};
      for (const Tensor& input : inputs) tape.watch(input);
      std::vector<Tensor> given = inputs;
      const Tensor out = recorded(run, given);
      std::vector<Values> found = {values_of(out)};
      tape.backward(weighted_sum(run, out));
      for (const Tensor& input : inputs) found.push_back(values_of(tape.gradient(input)));
      if (first.empty()) first = found;
      EXPECT_TRUE(found == first) << count << " threads";
    }
    set_threads(before);
  }
};

}  // namespace clearhead
