// Every recorded op against differences of its formula in double, on every backend; and the
// tape's guarantees about views, in-place sums and stale tensors.
#include "autograd/tape.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/gradient_case.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

std::vector<const char*> backends_here() {
  std::vector<const char*> names;
  for (const Backend* table : runnable_backends()) {
    names.push_back(table->isa == InstructionSet::kAvx512 ? "avx512" : table->isa == InstructionSet::kAvx2 ? "avx2" : "ref");
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(Backends, TapeOn, testing::ValuesIn(backends_here()), [](const auto& of) { return std::string(of.param); });

// [rows, in]·[out, in]ᵀ + [out]
Values product(const Values& x, const Values& w, const Values& b, size_t in) {
  const size_t rows = x.size() / in, columns = w.size() / in;
  Values out(rows * columns);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t o = 0; o < columns; ++o) {
      double sum = b.empty() ? 0 : b[o];
      for (size_t i = 0; i < in; ++i) sum += x[r * in + i] * w[o * in + i];
      out[r * columns + o] = sum;
    }
  }
  return out;
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kGeluErf: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu: return std::max(x, 0.0);
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kTanh: return std::tanh(x);
    case Activation::kSigmoid: return 1 / (1 + std::exp(-x));
  }
  return x;
}

TEST_P(TapeOn, LinearHasGradientsOfInputWeightAndBiasWithEveryActivation) {
  for (const Activation activation : {Activation::kNone, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu, Activation::kSilu,
                                      Activation::kTanh, Activation::kSigmoid}) {
    SCOPED_TRACE(to_string(activation));
    expect_gradients(
        {random_tensor({5, 7}, 1), random_tensor({19, 7}, 2), random_tensor({19}, 3)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) {
          Tensor out = run.take({5, 19});
          ops::linear(run, in[0], LiveWeight(in[1]), in[2], out, {.activation = activation});
          return out;
        },
        [&](const std::vector<Values>& in) {
          Values out = product(in[0], in[1], in[2], 7);
          for (double& value : out) value = activated(activation, value);
          return out;
        });
  }
}

Values rounded_values(const Tensor& t) { return values_of(to_f32(to_dtype(t, DType::kBF16))); }

// bf16 operands are summed in f32: forward and backward must match the formula over rounded numbers, within f32's error.
TEST_P(TapeOn, LinearReadsOperandsRoundedToBf16) {
  constexpr size_t kRows = 37, kIn = 21, kOut = 19;
  for (const bool is_narrow_already : {false, true}) {
    Tensor x = random_tensor({kRows, kIn}, 41);
    const Tensor w = random_tensor({kOut, kIn}, 42), b = random_tensor({kOut}, 43);
    if (is_narrow_already) x = to_dtype(x, DType::kBF16);
    Arena arena;
    Tape tape;
    clearhead::Run run{.arena = arena, .recorder = &tape, .operands = DType::kBF16};
    for (const Tensor& leaf : {w, b}) tape.watch(leaf);
    const Tensor plain = random_tensor({kRows, kIn}, 41);
    if (!is_narrow_already) tape.watch(x);
    const Values rows = rounded_values(plain), weights = rounded_values(w);
    Tensor out = run.take({kRows, kOut});
    ops::linear(run, x, LiveWeight(w), b, out);
    const Values expected = product(rows, weights, values_of(b), kIn), found = values_of(out);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[i], expected[i], tolerance::kResult) << "result " << i;
    tape.backward(weighted_sum(run, out));
    Tensor upstream = Tensor::empty({kRows, kOut});
    for (size_t i = 0; i < kRows * kOut; ++i) upstream.mutable_data<float>()[i] = static_cast<float>(factor(i));
    const Values d = rounded_values(upstream);
    const Values d_x = is_narrow_already ? Values() : values_of(tape.gradient(x)), d_w = values_of(tape.gradient(w)),
                 d_b = values_of(tape.gradient(b));
    for (size_t o = 0; o < kOut; ++o) {
      double sum = 0;
      for (size_t r = 0; r < kRows; ++r) sum += factor(r * kOut + o);
      ASSERT_NEAR(d_b[o], sum, tolerance::kSlopeOfResult) << "bias " << o;
      for (size_t i = 0; i < kIn; ++i) {
        double of_weight = 0;
        for (size_t r = 0; r < kRows; ++r) of_weight += d[r * kOut + o] * rows[r * kIn + i];
        ASSERT_NEAR(d_w[o * kIn + i], of_weight, tolerance::kSlopeOfWeight) << "weight " << o << ", " << i;
      }
    }
    for (size_t at = 0; at < d_x.size(); ++at) {
      double sum = 0;
      for (size_t o = 0; o < kOut; ++o) sum += d[at / kIn * kOut + o] * weights[o * kIn + at % kIn];
      ASSERT_NEAR(d_x[at], sum, tolerance::kSlopeOfResult) << "input " << at;
    }
  }
}

// q, k and v are rounded once. Their gradients, which attend_gradients() gives in bf16, are added in f32 to those of the unrounded tensors.
TEST_P(TapeOn, AttentionOverRoundedOperandsSendsItsGradientsThroughTheRounding) {
  const Tensor projected = random_tensor({2 * 13, 3 * 16}, 44);
  Arena arena;
  Tape tape;
  clearhead::Run run{.arena = arena, .recorder = &tape, .operands = DType::kBF16};
  tape.watch(projected);
  const auto part = [](const Tensor& rows, int64_t at) {
    return rows.reshape({2, 13, 6, 8}).slice(2, 2 * at, 2 * at + 2).permute({0, 2, 1, 3});
  };
  const Tensor narrow = ops::rounded(run, projected);
  ASSERT_EQ(narrow.dtype(), DType::kBF16);
  EXPECT_EQ(ops::rounded(run, narrow).storage_number(), narrow.storage_number());
  const Tensor q = part(narrow, 0), v = part(narrow, 2);
  const Keys keys = part(narrow, 1);
  const AttentionSpec spec{.topology = causal()};
  Tensor rows = run.take({26, 16}, DType::kBF16), out = rows.reshape({2, 13, 2, 8}).permute({0, 2, 1, 3});
  ops::attention(run, {Site{}, q, keys, v, spec, Tensor()}, out);
  const Tensor w = random_tensor({16, 16}, 45);
  Tensor result = run.take({26, 16});
  ops::linear(run, rows, LiveWeight(w), {}, result);
  tape.backward(weighted_sum(run, result));

  Tensor upstream = Tensor::empty({26, 16}), d_rows = Tensor::empty({26, 16});
  for (size_t i = 0; i < 26 * 16; ++i) upstream.mutable_data<float>()[i] = static_cast<float>(factor(i));
  const Values d = rounded_values(upstream), weights = rounded_values(w);
  for (size_t at = 0; at < 26 * 16; ++at) {
    double sum = 0;
    for (size_t o = 0; o < 16; ++o) sum += d[at / 16 * 16 + o] * weights[o * 16 + at % 16];
    d_rows.mutable_data<float>()[at] = static_cast<float>(sum);
  }
  const Attended expected = attend(q, std::get<Tensor>(keys), v, spec);
  EXPECT_EQ(values_of(to_f32(expected.out)), values_of(to_f32(out)));
  const AttendGradients wanted =
      attend_gradients(expected.record, v, expected.out, to_dtype(d_rows.reshape({2, 13, 2, 8}).permute({0, 2, 1, 3}), DType::kBF16));
  const Tensor found = tape.gradient(projected);
  for (int64_t at = 0; at < 3; ++at) {
    const Values a = values_of(part(found, at)), b = values_of(to_f32(at == 0 ? wanted.q : at == 1 ? wanted.k : wanted.v));
    // d_rows is rounded to bf16 after sums that differ in their last bit, so that about one element
    // in several thousand rounds to the other side.
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 0.02 * std::max(0.5, std::abs(b[i]))) << "qkv"[at] << i;
  }
}

TEST(LiveWeights, AreRoundedAgainOnlyAfterTheirValuesChange) {
  Tensor values = random_tensor({3, 5}, 46);
  const LiveWeight weight(values);
  const Tensor first = weight.rounded();
  const uint64_t version = first.version();
  EXPECT_EQ(weight.rounded().version(), version);
  EXPECT_EQ(values_of(to_f32(first)), rounded_values(values));
  values.mutable_data<float>()[7] = 3.14159F;
  EXPECT_EQ(weight.rounded().storage_number(), first.storage_number());
  EXPECT_EQ(values_of(to_f32(weight.rounded())), rounded_values(values));
  EXPECT_GT(weight.rounded().version(), version);
}

TEST_P(TapeOn, InPlaceResidualBlocksAccumulateOneGradient) {
  // x += relu(x·W₁ᵀ)·W₂ᵀ twice in one buffer, whose initial value came from a table.
  const std::vector<int32_t> ids = {2, 0, 2};
  expect_gradients(
      {random_tensor({4, 6}, 4), random_tensor({9, 6}, 5), random_tensor({6, 9}, 6)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor x = run.take({3, 6});
        ops::embed(run, {.tokens = in[0], .scale = 0.5F}, {ids, {}, {}}, x);
        for (int block = 0; block < 2; ++block) {
          Tensor read = run.take({3, 6}), inner = run.take({3, 9});
          ops::copy(run, x, read);
          ops::linear(run, read, LiveWeight(in[1]), {}, inner, {.activation = Activation::kRelu});
          ops::linear(run, inner, LiveWeight(in[2]), {}, x, {.accumulate = true});
        }
        return x;
      },
      [&](const std::vector<Values>& in) {
        Values x;
        for (const int32_t id : ids) {
          for (size_t c = 0; c < 6; ++c) x.push_back(0.5 * in[0][static_cast<size_t>(id) * 6 + c]);
        }
        for (int block = 0; block < 2; ++block) {
          Values inner = product(x, in[1], {}, 6);
          for (double& value : inner) value = std::max(value, 0.0);
          const Values more = product(inner, in[2], {}, 9);
          for (size_t i = 0; i < x.size(); ++i) x[i] += more[i];
        }
        return x;
      });
}

Values normed(const Values& x, const Values& w, const Values& b, bool rms) {
  const size_t width = w.size();
  Values out(x.size());
  for (size_t row = 0; row < x.size() / width; ++row) {
    double mean = 0, square = 0;
    for (size_t c = 0; c < width && !rms; ++c) mean += x[row * width + c] / static_cast<double>(width);
    for (size_t c = 0; c < width; ++c) square += std::pow(x[row * width + c] - mean, 2) / static_cast<double>(width);
    for (size_t c = 0; c < width; ++c) {
      out[row * width + c] = (x[row * width + c] - mean) / std::sqrt(square + 1e-5) * w[c] + (b.empty() ? 0 : b[c]);
    }
  }
  return out;
}

TEST_P(TapeOn, NormsHaveGradientsOutOfPlaceAndInPlace) {
  for (const bool rms : {false, true}) {
    for (const bool in_place : {false, true}) {
      SCOPED_TRACE(std::string(rms ? "rms" : "layer") + (in_place ? ", in place" : ""));
      std::vector<Tensor> inputs = {random_tensor({3, 21}, 7), random_tensor({21}, 8), random_tensor({21}, 9)};
      if (rms) inputs.pop_back();
      expect_gradients(
          inputs,
          [&](clearhead::Run& run, std::vector<Tensor>& in) {
            Tensor x = run.take({3, 21});
            ops::copy(run, in[0], x);
            Tensor out = in_place ? x : run.take({3, 21});
            ops::norm(run, x, {.rms = rms, .weight = in[1], .bias = rms ? Tensor() : in[2]}, out);
            if (!in_place) ops::add(run, x, out);  // x is read twice
            return out;
          },
          [&](const std::vector<Values>& in) {
            Values out = normed(in[0], in[1], rms ? Values() : in[2], rms);
            for (size_t i = 0; i < out.size() && !in_place; ++i) out[i] += in[0][i];
            return out;
          });
    }
  }
}

TEST_P(TapeOn, GatedActivationAndRotaryGradientsMatchFiniteDifferences) {
  expect_gradients(
      {random_tensor({3, 34}, 10)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        Tensor out = run.take({3, 17});
        ops::gated(run, Activation::kSilu, in[0], out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out;
        for (size_t row = 0; row < 3; ++row) {
          for (size_t c = 0; c < 17; ++c) out.push_back(activated(Activation::kSilu, in[0][row * 34 + c]) * in[0][row * 34 + 17 + c]);
        }
        return out;
      });
  const Tensor cosine = Tensor::from<float>({0.8F, 0.6F, 0.28F, -0.6F}, {2, 2}),
               sine = Tensor::from<float>({0.6F, -0.8F, 0.96F, 0.8F}, {2, 2});
  for (const bool interleaved : {false, true}) {
    expect_gradients(
        {random_tensor({2, 10}, 11)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) {  // two heads of five channels, four of which are rotated
          Tensor x = run.take({2, 10});
          ops::copy(run, in[0], x);
          Tensor heads = x.reshape({2, 2, 5});
          ops::rotary(run, heads, {cosine, sine, 4, interleaved});
          return x;
        },
        [&](const std::vector<Values>& in) {
          Values out = in[0];
          for (size_t at = 0; at < 8; ++at) {
            const size_t row = at / 4, head = at / 2 % 2, i = at % 2;
            const size_t a = row * 10 + head * 5 + (interleaved ? 2 * i : i), b = interleaved ? a + 1 : a + 2;
            const double c = static_cast<double>(cosine.data<float>()[row * 2 + i]),
                         s = static_cast<double>(sine.data<float>()[row * 2 + i]);
            out[a] = in[0][a] * c - in[0][b] * s;
            out[b] = in[0][b] * c + in[0][a] * s;
          }
          return out;
        });
  }
}

TEST_P(TapeOn, DropoutKeepsItsShareAndSendsGradientsWhereItKept) {
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = random_tensor({100, 100}, 12);
  tape.watch(x);
  Tensor out = run.take({100, 100});
  ops::dropout(run, x, {.rate = 0.25F, .seed = 7}, out);
  const Values before = values_of(x), after = values_of(out);
  tape.backward(weighted_sum(run, out));
  const Values gradient = values_of(tape.gradient(x));
  int64_t kept = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    if (after[i] != 0) ++kept;
    ASSERT_NEAR(after[i], after[i] != 0 ? before[i] / 0.75 : 0, tolerance::kSum);
    ASSERT_NEAR(gradient[i], after[i] != 0 ? factor(i) / 0.75 : 0, tolerance::kSum);
  }
  EXPECT_NEAR(static_cast<double>(kept), 7500, 200);  // 4.6 standard deviations
}

TEST_P(TapeOn, CrossEntropyIsPyTorchsFormulaWithSmoothingAndIgnoredRows) {
  const std::vector<int32_t> targets = {3, -100, 0, 22};
  for (const float smoothing : {0.0F, 0.1F}) {
    expect_gradients(
        {random_tensor({4, 23}, 13, 3)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) { return ops::cross_entropy(run, in[0], targets, {.smoothing = smoothing}); },
        [&](const std::vector<Values>& in) {
          double sum = 0;
          for (size_t row = 0; row < 4; ++row) {
            if (targets[row] < 0) continue;
            double total = 0, mean = 0;
            for (size_t c = 0; c < 23; ++c) total += std::exp(in[0][row * 23 + c]);
            for (size_t c = 0; c < 23; ++c) mean += (in[0][row * 23 + c] - std::log(total)) / 23;
            const double chosen = in[0][row * 23 + static_cast<size_t>(targets[row])] - std::log(total);
            const double share = static_cast<double>(smoothing);
            sum -= (1 - share) * chosen + share * mean;
          }
          return Values{sum / 3};
        });
  }
}

TEST_P(TapeOn, CrossEntropyOfARowIsTimesItsWeight) {
  const std::vector<int32_t> targets = {3, -100, 0, 6};
  const std::vector<float> weights = {2, 5, 0.25F, 1};
  expect_gradients(
      {random_tensor({4, 7}, 15, 3)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        return ops::cross_entropy(run, in[0], targets, {.divisor = 3, .row_weights = weights});
      },
      [&](const std::vector<Values>& in) {
        double sum = 0;
        for (size_t row = 0; row < 4; ++row) {
          if (targets[row] < 0) continue;
          double total = 0;
          for (size_t c = 0; c < 7; ++c) total += std::exp(in[0][row * 7 + c]);
          sum -= static_cast<double>(weights[row]) * (in[0][row * 7 + static_cast<size_t>(targets[row])] - std::log(total));
        }
        return Values{sum / 3};
      });
}

// One buffer [length, q | k | v]: the heads are views of it, with two query heads per key head.
TEST_P(TapeOn, AttentionSendsGradientsThroughViewsOfOneProjection) {
  const int64_t length = 5, width = 4;
  AttentionSpec spec;
  spec.topology = causal();
  const Site site{"dec", 0, 0};
  expect_gradients(
      {random_tensor({length, 4 * width}, 14), random_tensor({2}, 15)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        AttentionSpec described = spec;
        described.terms.push_back(Alibi{in[1]});
        const auto heads = [&](int64_t begin, int64_t count) {
          return in[0].reshape({1, length, 4, width}).slice(2, begin, begin + count).permute({0, 2, 1, 3});
        };
        Tensor out = run.take({length, 2 * width});
        Tensor seen = out.reshape({1, length, 2, width}).permute({0, 2, 1, 3});
        ops::attention(run, {site, heads(0, 2), heads(2, 1), heads(3, 1), described, Tensor()}, seen);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out(static_cast<size_t>(length * 2 * width));
        for (int64_t head = 0; head < 2; ++head) {
          for (int64_t i = 0; i < length; ++i) {
            Values weights;
            double total = 0;
            for (int64_t j = 0; j <= i; ++j) {
              double score = -in[1][static_cast<size_t>(head)] * static_cast<double>(i - j);
              for (int64_t c = 0; c < width; ++c) {
                score += in[0][static_cast<size_t>((i * 4 + head) * width + c)] * in[0][static_cast<size_t>((j * 4 + 2) * width + c)] / 2;
              }
              weights.push_back(std::exp(score));
              total += weights.back();
            }
            for (int64_t j = 0; j <= i; ++j) {
              for (int64_t c = 0; c < width; ++c) {
                out[static_cast<size_t>((i * 2 + head) * width + c)] +=
                    weights[static_cast<size_t>(j)] / total * in[0][static_cast<size_t>((j * 4 + 3) * width + c)];
              }
            }
          }
        }
        return out;
      });
}

// Causal attention with one head: the last rows of h over all rows, q = h, k = h·W_kᵀ, v = h·W_vᵀ.
Values attended(const Values& h, const Values& w_k, const Values& w_v, size_t memory, size_t width) {
  const Values k = product(h, w_k, {}, width), v = product(h, w_v, {}, width);
  Values out;
  for (size_t i = memory; i < h.size() / width; ++i) {
    Values row(width);
    double total = 0;
    for (size_t j = 0; j <= i; ++j) {
      double score = 0;
      for (size_t c = 0; c < width; ++c) score += h[i * width + c] * k[j * width + c] / std::sqrt(static_cast<double>(width));
      total += std::exp(score);
      for (size_t c = 0; c < width; ++c) row[c] += std::exp(score) * v[j * width + c];
    }
    for (const double sum : row) out.push_back(sum / total);
  }
  return out;
}

// Two segments, the second one over [SG(h_old) ∘ h] (Transformer-XL: Dai et al. 2019, §3.2): weights learn from the memory's rows, but no
// gradient flows into h_old.
TEST_P(TapeOn, AGradientStopsAtACloneButReachesWeightsThatReadIt) {
  constexpr int64_t kOld = 3, kNew = 4, kWidth = 4;
  const Tensor before = random_tensor({kOld, kWidth}, 71);
  const Values fixed = values_of(before);
  const Site site{"dec", 0, 0};
  expect_gradients(
      {before, random_tensor({kNew, kWidth}, 72), random_tensor({kWidth, kWidth}, 73, 0.5), random_tensor({kWidth, kWidth}, 74, 0.5)},
      [&](clearhead::Run& run, std::vector<Tensor>& in) {
        const auto heads = [](const Tensor& rows) { return rows.reshape({1, 1, rows.size(0), kWidth}); };
        const auto attend = [&](const Tensor& h, int64_t memory) {
          Tensor k = run.take(h.shape()), v = run.take(h.shape()), out = run.take({h.size(0) - memory, kWidth}), to = heads(out);
          ops::linear(run, h, LiveWeight(in[2]), Tensor(), k);
          ops::linear(run, h, LiveWeight(in[3]), Tensor(), v);
          ops::attention(run, {site, heads(h.slice(0, memory, h.size(0))), heads(k), heads(v), {.topology = causal()}, Tensor()}, to);
          return out;
        };
        Tensor old = run.take({kOld, kWidth}), both = run.take({kOld + kNew, kWidth}), out = run.take({kOld + kNew, kWidth});
        ops::copy(run, in[0], old);
        const Tensor first = attend(old, 0);
        ops::concat(run, {old.clone(), in[1]}, 0, both);
        ops::concat(run, {first, attend(both, kOld)}, 0, out);
        return out;
      },
      [&](const std::vector<Values>& in) {
        Values out = attended(in[0], in[2], in[3], 0, kWidth), both = fixed;
        both.insert(both.end(), in[1].begin(), in[1].end());
        const Values second = attended(both, in[2], in[3], kOld, kWidth);
        out.insert(out.end(), second.begin(), second.end());
        return out;
      });
}

TEST(Tape, PassesAddUpUntilGradientsAreCleared) {
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = random_tensor({2, 3}, 16), w = random_tensor({4, 3}, 17);
  tape.watch(w);
  const auto pass = [&] {
    Tensor out = run.take({2, 4});
    ops::linear(run, x, LiveWeight(w), {}, out);
    tape.backward(weighted_sum(run, out));
    return values_of(tape.gradient(w));
  };
  const Values once = pass(), twice = pass();
  tape.clear_gradients();
  const Values again = pass();
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NEAR(twice[i], 2 * once[i], tolerance::kSum);
    EXPECT_EQ(again[i], once[i]);
  }
}

// The first pass reports all leaves at its end. Later passes report a leaf as soon as no remaining op reads it: `late` is read by the last
// op, `early` by the first.
TEST(Tape, ReportsEachLeafGradientAsSoonAsItIsFinal) {
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = random_tensor({5, 4}, 21), early = random_tensor({3, 4}, 22), late = random_tensor({2, 3}, 23),
               unread = Tensor::zeros({2});
  for (const Tensor& leaf : {early, late, unread}) tape.watch(leaf);
  std::vector<std::pair<uint64_t, int64_t>> heard;  // and the number of remaining entries
  Values at_end;
  tape.on_settled([&](uint64_t storage) {
    heard.emplace_back(storage, tape.recorded());
    if (storage == late.storage_number()) at_end = values_of(tape.gradient(late));
  });
  const auto pass = [&](bool twice) {
    heard.clear();
    tape.clear_gradients();
    Tensor inner = run.take({5, 3}), out = run.take({5, 2});
    ops::linear(run, x, LiveWeight(early), {}, inner);
    if (twice) ops::linear(run, x, LiveWeight(early), {}, inner, {.accumulate = true});
    ops::linear(run, inner, LiveWeight(late), {}, out);
    tape.backward(weighted_sum(run, out));
    EXPECT_EQ(heard.size(), 3U);
    EXPECT_EQ(at_end, values_of(tape.gradient(late)));
  };
  using Heard = std::vector<std::pair<uint64_t, int64_t>>;
  const uint64_t a = early.storage_number(), b = late.storage_number(), c = unread.storage_number();
  pass(false);
  EXPECT_EQ(heard, (Heard{{a, 0}, {b, 0}, {c, 0}}));
  pass(false);
  EXPECT_EQ(heard, (Heard{{c, 3}, {b, 1}, {a, 0}}));
  pass(true);  // a different number of ops: nothing is known about it
  EXPECT_EQ(heard, (Heard{{a, 0}, {b, 0}, {c, 0}}));
  pass(true);
  EXPECT_EQ(heard, (Heard{{c, 4}, {b, 2}, {a, 0}}));
}

// x += dropout(relu(x·W₁ᵀ)·W₂ᵀ) six times in one buffer, then a loss.
struct Blocks {
  explicit Blocks(bool checkpoints) : checkpointed(checkpoints) {
    for (const Tensor& leaf : {start, up, down}) tape.watch(leaf);
    tape.on_settled([this](uint64_t storage) { heard.push_back(storage); });
  }
  void block(uint64_t seed, Tensor& x) {
    Tensor read = run.take(x.shape()), inner = run.take({60, 300}), added = run.take(x.shape());
    ops::copy(run, x, read);
    ops::linear(run, read, LiveWeight(up), {}, inner, {.activation = Activation::kRelu});
    ops::linear(run, inner, LiveWeight(down), {}, added);
    ops::dropout(run, added, {.rate = 0.3F, .seed = seed, .accumulate = true}, x);
  }
  std::vector<Values> pass() {
    heard.clear();
    tape.clear_gradients();
    Tensor x = run.take(start.shape());
    ops::copy(run, start, x);
    for (uint64_t at = 0; at < 6; ++at) {
      if (checkpointed) {
        tape.checkpoint(x, [this, at, x]() mutable { block(at, x); });
      } else {
        block(at, x);
      }
    }
    tape.backward(weighted_sum(run, x));
    EXPECT_EQ(tape.recorded(), 0);
    return {values_of(tape.gradient(start)), values_of(tape.gradient(up)), values_of(tape.gradient(down))};
  }
  bool checkpointed;
  Tensor start = random_tensor({60, 40}, 31), up = random_tensor({300, 40}, 32, 0.2), down = random_tensor({40, 300}, 33, 0.1);
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  std::vector<uint64_t> heard;
};

TEST(Tape, ACheckpointIsComputedAgainWithTheSameBitsInLessMemory) {
  Blocks kept(false), again(true);
  for (int pass = 0; pass < 3; ++pass) {  // later passes report finished gradients on the way, in the first pass's order
    const std::vector<Values> expected = kept.pass();
    EXPECT_EQ(again.pass(), expected) << "pass " << pass;
    std::vector<uint64_t> order = {again.down.storage_number(), again.up.storage_number(), again.start.storage_number()};
    if (pass == 0) std::reverse(order.begin(), order.end());  // nothing is known yet: all at the end, in the order of watch()
    EXPECT_EQ(again.heard, order) << "pass " << pass;
  }
  EXPECT_LT(again.tape.most_bytes(), kept.tape.most_bytes() * 6 / 10);
}

// A record keeps the tensors that it read: the input and the weight.
TEST(Tape, AnOpWhoseInputOrWeightWasWrittenSinceIsNamed) {
  for (const char* written : {"input", "matrix", "gain"}) {
    Arena arena;
    Tape tape;
    clearhead::Run run{arena, nullptr, &tape};
    Tensor x = random_tensor({2, 3}, 18), w = random_tensor({4, 3}, 19), gain = random_tensor({4}, 20);
    tape.watch(w);
    tape.watch(gain);
    Tensor raised = run.take({2, 4}), out = run.take({2, 4});
    ops::linear(run, x, LiveWeight(w), {}, raised);
    ops::norm(run, raised, {.rms = true, .epsilon = 1e-5, .weight = gain}, out);
    const Tensor loss = weighted_sum(run, out);
    const bool is_gain = written == std::string("gain");
    (is_gain ? gain : written == std::string("input") ? x : w).mutable_data<float>()[0] = 1;
    try {
      tape.backward(loss);
      FAIL() << "a stale " << written << " was used";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStale);
      EXPECT_NE(std::string(error.what()).find(is_gain ? "norm" : "linear"), std::string::npos) << error.what();
    }
  }
}

TEST(Tape, TheFirstOpWithANonFiniteOutputIsNamed) {
  Arena arena;
  Tape tape;
  tape.check_finite(true);
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = Tensor::from<float>({1, 3e38F}, {1, 2}), w = Tensor::from<float>({1, 3e38F}, {1, 2});
  tape.watch(w);
  Tensor out = run.take({1, 1});
  try {
    ops::linear(run, x, LiveWeight(w), {}, out);
    FAIL() << "infinity was not detected";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    EXPECT_NE(std::string(error.what()).find("linear"), std::string::npos) << error.what();
  }
}

// The value is finite, 0 · 3e38 twice, but the gradient of x is 3e38 + 3e38. It overflows when the first op's part is added.
TEST(Tape, TheFirstOpWhoseBackwardPassOverflowsIsNamed) {
  Arena arena;
  Tape tape;
  tape.check_finite(true);
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = Tensor::zeros({1, 2}), w = Tensor::from<float>({3e38F, 3e38F}, {1, 2});
  tape.watch(x);
  Tensor first = run.take({1, 1}), second = run.take({1, 1});
  ops::linear(run, x, LiveWeight(w), {}, first);
  ops::linear(run, x, LiveWeight(w), {}, second);
  ops::add(run, first, second);
  expect_refused(ErrorCode::kInvalidArgument, "the backward pass of op 0 (linear) gave a gradient that is not finite",
                 [&] { tape.backward(second.reshape({1})); });
}

TEST(Tape, ALossThatDependsOnNoWatchedTensorIsRefused) {
  Tape tape;
  expect_refused(ErrorCode::kInvalidArgument, "it does not depend on a watched tensor", [&] { tape.backward(Tensor::zeros({1})); });
  expect_refused(ErrorCode::kUnsupported, "found i32 [1]", [&] { tape.watch(Tensor::zeros({1}, DType::kI32)); });
  expect_refused(ErrorCode::kInvalidArgument, "because it is not watched; call watch()", [&] { (void)tape.gradient(Tensor::zeros({1})); });
}

}  // namespace
}  // namespace clearhead
