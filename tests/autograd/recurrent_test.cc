// GRU and LSTM against differences of their recurrences in double: initial states, lengths, both directions.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradient_case.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

constexpr size_t kBatch = 3, kTime = 4, kIn = 5, kWidth = 3;

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// Inputs: x, W_ih, W_hh, b_ih, b_hh, h, and c for an LSTM. Results: h of all steps, then c of all steps.
Values run_through(RecurrentKind kind, const std::vector<Values>& in, const std::vector<int32_t>& lengths, bool backwards) {
  const size_t gates = static_cast<size_t>(gates_of(kind));
  Values states(kBatch * kTime * kWidth), cells(states.size());
  for (size_t b = 0; b < kBatch; ++b) {
    const auto first = static_cast<std::ptrdiff_t>(b * kWidth);
    Values h(in[5].begin() + first, in[5].begin() + first + kWidth), c(kWidth, 0);
    if (kind == RecurrentKind::kLstm) c.assign(in[6].begin() + first, in[6].begin() + first + kWidth);
    for (size_t step = 0; step < kTime; ++step) {
      const size_t t = backwards ? kTime - 1 - step : step;
      if (lengths.empty() || t < static_cast<size_t>(lengths[b])) {
        Values x(gates * kWidth), u(x.size());  // from the input and from the state
        for (size_t g = 0; g < x.size(); ++g) {
          x[g] = in[3][g], u[g] = in[4][g];
          for (size_t i = 0; i < kIn; ++i) x[g] += in[1][g * kIn + i] * in[0][(b * kTime + t) * kIn + i];
          for (size_t i = 0; i < kWidth; ++i) u[g] += in[2][g * kWidth + i] * h[i];
        }
        for (size_t i = 0; i < kWidth; ++i) {
          const auto sum = [&](size_t gate) { return x[gate * kWidth + i] + u[gate * kWidth + i]; };
          if (kind == RecurrentKind::kGru) {
            const double z = logistic(sum(1)), n = std::tanh(x[2 * kWidth + i] + logistic(sum(0)) * u[2 * kWidth + i]);
            h[i] = (1 - z) * n + z * h[i];
          } else {
            c[i] = logistic(sum(1)) * c[i] + logistic(sum(0)) * std::tanh(sum(2));
            h[i] = logistic(sum(3)) * std::tanh(c[i]);
          }
        }
      }
      std::copy(h.begin(), h.end(), states.begin() + static_cast<std::ptrdiff_t>((b * kTime + t) * kWidth));
      std::copy(c.begin(), c.end(), cells.begin() + static_cast<std::ptrdiff_t>((b * kTime + t) * kWidth));
    }
  }
  if (kind == RecurrentKind::kLstm) states.insert(states.end(), cells.begin(), cells.end());
  return states;
}

Shape out_shape(RecurrentKind kind, int64_t batch, int64_t time, int64_t width) {
  return kind == RecurrentKind::kLstm ? Shape{2, batch, time, width} : Shape{batch, time, width};
}

std::vector<Tensor> random_layer(RecurrentKind kind, int64_t batch, int64_t time, int64_t in, int64_t width, double spread) {
  const int64_t gates = gates_of(kind) * width;
  std::vector<Tensor> out = {random_tensor({batch, time, in}, 81),      random_tensor({gates, in}, 82, spread),
                             random_tensor({gates, width}, 83, spread), random_tensor({gates}, 84, spread),
                             random_tensor({gates}, 85, spread),        random_tensor({batch, width}, 86)};
  if (kind == RecurrentKind::kLstm) out.push_back(random_tensor({batch, width}, 87));
  return out;
}

Tensor recurrent(clearhead::Run& run, RecurrentKind kind, const std::vector<Tensor>& in, const std::vector<int32_t>& lengths,
                 bool backwards) {
  Tensor out = run.take(out_shape(kind, in[0].size(0), in[0].size(1), in[2].size(1)));
  ops::recurrent(run, kind, in[0], {in[1], in[2], in[3], in[4], in[5], in.size() > 6 ? in[6] : Tensor(), lengths, backwards}, out);
  return out;
}

TEST_P(TapeOn, GruAndLstmGradientsMatchFiniteDifferencesInBothDirections) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    for (const bool backwards : {false, true}) {
      for (const std::vector<int32_t>& lengths : {std::vector<int32_t>{}, std::vector<int32_t>{4, 0, 2}}) {
        SCOPED_TRACE(std::string(kind == RecurrentKind::kGru ? "gru" : "lstm") + (backwards ? ", backwards" : "") +
                     (lengths.empty() ? "" : ", lengths"));
        expect_gradients(
            random_layer(kind, kBatch, kTime, kIn, kWidth, 0.7),
            [&](clearhead::Run& run, std::vector<Tensor>& in) { return recurrent(run, kind, in, lengths, backwards); },
            [&](const std::vector<Values>& in) { return run_through(kind, in, lengths, backwards); });
      }
    }
  }
}

// Without biases and from zero states. Both layers read the same input and weights, so gradients must accumulate.
TEST_P(TapeOn, TwoRecurrencesOfOneInputAddTheirGradients) {
  expect_gradients(
      {random_tensor({kBatch, kTime, kIn}, 88), random_tensor({9, kIn}, 89, 0.7), random_tensor({9, kWidth}, 90, 0.7)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor forth = run.take({kBatch, kTime, kWidth}), back = run.take(forth.shape()), sum = run.take(forth.shape());
        ops::recurrent(run, RecurrentKind::kGru, in[0], {.input_weight = in[1], .hidden_weight = in[2]}, forth);
        ops::recurrent(run, RecurrentKind::kGru, in[0], {.input_weight = in[1], .hidden_weight = in[2], .backwards = true}, back);
        ops::copy(run, forth, sum);
        ops::add(run, back, sum);
        return sum;
      },
      [&](const std::vector<Values>& in) {
        const Values none(9, 0), zeros(kBatch * kWidth, 0);
        const std::vector<Values> all = {in[0], in[1], in[2], none, none, zeros};
        Values out = run_through(RecurrentKind::kGru, all, {}, false);
        const Values more = run_through(RecurrentKind::kGru, all, {}, true);
        for (size_t i = 0; i < out.size(); ++i) out[i] += more[i];
        return out;
      });
}

// For a sequence that ends early, the last state is the last one of the result: at the last step forwards, at the first step backwards.
TEST_P(TapeOn, StepsBeyondASequencesLengthAreNotRead) {
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    for (const bool backwards : {false, true}) {
      Arena arena;
      clearhead::Run run{arena};
      std::vector<Tensor> in = random_layer(kind, 1, 5, kIn, kWidth, 0.7);
      std::vector<Tensor> part = in;
      part[0] = in[0].slice(1, 0, 3).clone();
      const Values expected = values_of(recurrent(run, kind, part, {}, backwards).reshape({-1, 3, 3}).select(1, backwards ? 0 : 2));
      for (int64_t i = 3 * 5; i < 5 * 5; ++i) in[0].mutable_data<float>()[i] = NAN;
      const Values found = values_of(recurrent(run, kind, in, {3}, backwards).reshape({-1, 5, 3}).select(1, backwards ? 0 : 4));
      for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance::kFew);
    }
  }
}

TEST_P(TapeOn, RecurrencesHaveTheSameBitsForAnyThreads) {
  const bool slow = backend().isa == InstructionSet::kReference;
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    expect_the_same_bits_for_any_threads(slow ? random_layer(kind, 3, 4, 9, 17, 0.1) : random_layer(kind, 50, 6, 96, 130, 0.1),
                                         [&](clearhead::Run& run, std::vector<Tensor>& in) { return recurrent(run, kind, in, {}, true); });
  }
}

TEST(Recurrences, MismatchedShapesAndLengthsAreRefused) {
  Arena arena;
  clearhead::Run run{arena};
  const std::vector<Tensor> in = random_layer(RecurrentKind::kGru, 2, 3, 4, 5, 1);
  const auto refused = [&](ErrorCode code, const char* says, const auto& change, RecurrentKind kind = RecurrentKind::kGru) {
    Recurrence given{in[1], in[2], in[3], in[4], in[5]};
    Tensor x = in[0], out = Tensor::zeros({2, 3, 5});
    change(x, given, out);
    expect_refused(code, says, [&] { ops::recurrent(run, kind, x, given, out); });
  };
  const auto code = ErrorCode::kShape;
  refused(code, "x is [2, 12]", [](Tensor& x, auto&, auto&) { x = x.reshape({2, 12}); });
  refused(code, "the input's weight is [15, 4]; expected a contiguous [15, 3]", [](Tensor& x, auto&, auto&) {
    x = Tensor::zeros({2, 3, 3});
  });
  refused(
      code, "the input's weight is [15, 4]; expected a contiguous [20, 4]", [](auto&, auto&, auto&) {}, RecurrentKind::kLstm);
  refused(code, "the hidden state's weight", [](auto&, auto& given, auto&) { given.hidden_weight = Tensor::zeros({16, 5}); });
  refused(code, "the input's bias is [14]", [](auto&, auto& given, auto&) { given.input_bias = Tensor::zeros({14}); });
  refused(code, "the hidden state's bias is [14]", [](auto&, auto& given, auto&) { given.hidden_bias = Tensor::zeros({14}); });
  refused(code, "the initial state is [5]", [](auto&, auto& given, auto&) { given.state = Tensor::zeros({5}); });
  refused(code, "the initial cell state is [2, 5]", [](auto&, auto& given, auto&) { given.cell = Tensor::zeros({2, 5}); });
  refused(code, "out is [2, 3, 6]", [](auto&, auto&, Tensor& out) { out = Tensor::zeros({2, 3, 6}); });
  refused(code, "3 lengths for 2 sequences", [](auto&, auto& given, auto&) { given.lengths = {1, 2, 3}; });
  refused(ErrorCode::kInvalidArgument, "a length of 4; expected 0 to 3", [](auto&, auto& given, auto&) { given.lengths = {1, 4}; });
}

}  // namespace
}  // namespace clearhead
