// The interface of attend_gradients: what it returns and what it refuses. tests/conformance tests the numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "largest.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

Tensor numbers(Shape shape, uint32_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>((seed + static_cast<uint32_t>(i) * 2654435761U) % 1000) / 500 - 1;
  return tensor;
}

struct Made {
  Tensor q = numbers({2, 4, 9, 8}, 1), k = numbers({2, 2, 11, 8}, 2), v = numbers({2, 2, 11, 6}, 3), d_out = numbers({2, 4, 9, 6}, 4);
  AttentionSpec spec{.terms = {Alibi{numbers({4}, 5)}, AttentionBias{numbers({1, 1, 9, 11}, 6)}}};
};

// With an upstream gradient of 1 for the L of each row and none for out, the gradients are those
// of Σ_i L_i: Σ_j P_ij k_j·scale for q, and 0 for v.
TEST(AttendGradients, OfTheLogSumExpAreWeightedSumsOfKeys) {
  Made made;
  made.spec.terms.clear();
  made.spec.topology = causal();
  const Attended done = attend(made.q, made.k, made.v, made.spec), of_keys = attend(made.q, made.k, made.k, made.spec);
  const Tensor ones = Tensor::from(std::vector<float>{1}, {1}).reshape({1, 1, 1}).expand({2, 4, 9});
  const AttendGradients found = attend_gradients(done.record, made.v, done.out, {Tensor::zeros(made.d_out.shape()), ones});
  for (int64_t i = 0; i < found.q.numel(); ++i)
    EXPECT_NEAR(found.q.data<float>()[i], of_keys.out.data<float>()[i] / std::sqrt(8.0F), tolerance::kResult) << i;
  for (int64_t i = 0; i < found.v.numel(); ++i) EXPECT_EQ(found.v.data<float>()[i], 0);
}

TEST(AttendGradients, RefuseALogSumExpGradientForSparsemaxOrOfAWrongShape) {
  const Made made;
  const Attended sparse = attend(made.q, made.k, made.v, {.normaliser = Sparsemax{}}), soft = attend(made.q, made.k, made.v);
  const auto refused = [&](const Attended& done, const Tensor& gradient) {
    return error_of([&] { (void)attend_gradients(done.record, made.v, done.out, {made.d_out, gradient}); });
  };
  EXPECT_EQ(
      refused(sparse, Tensor::zeros({2, 4, 9})),
      "kUnsupported: attend_gradients: a gradient of the log-sum-exp was passed, but sparsemax has no log-sum-exp; use softmax, or pass "
      "no such gradient");
  EXPECT_EQ(refused(soft, Tensor::zeros({2, 4, 8})),
            "kShape: attend_gradients: d_log_sum_exp: expected f32 [2, 4, 9], found f32 [2, 4, 8]");
}

std::string refusal(const AttentionRecord& record, const Tensor& v, const Tensor& out, const Tensor& d_out) {
  return error_of([&] { (void)attend_gradients(record, v, out, d_out); });
}

TEST(AttendGradients, HaveTheShapesOfTheirInputs) {
  const Made made;
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  const AttendGradients all = attend_gradients(done.record, made.v, done.out, made.d_out);
  EXPECT_EQ(all.q.shape(), made.q.shape());
  EXPECT_EQ(all.k.shape(), made.k.shape());
  EXPECT_EQ(all.v.shape(), made.v.shape());
  ASSERT_EQ(all.operands.size(), 2U);
  EXPECT_EQ(all.operands[0].shape(), Shape({4}));
  EXPECT_EQ(all.operands[1].shape(), Shape({1, 1, 9, 11}));
  const AttendGradients few =
      attend_gradients(done.record, made.v, done.out, made.d_out, [](const std::string& name) { return name == "slopes"; });
  EXPECT_TRUE(few.operands[0].defined());
  EXPECT_FALSE(few.operands[1].defined());
}

TEST(AttendGradients, HaveTheDtypeOfTheCallExceptOperandsInF32) {
  Made made;
  for (Tensor* tensor : {&made.q, &made.k, &made.v, &made.d_out}) *tensor = to_dtype(*tensor, DType::kF16);
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  const AttendGradients all = attend_gradients(done.record, made.v, done.out, made.d_out);
  for (const Tensor* gradient : {&all.q, &all.k, &all.v}) EXPECT_EQ(gradient->dtype(), DType::kF16);
  EXPECT_EQ(all.operands[0].dtype(), DType::kF32);
  EXPECT_EQ(refusal(done.record, made.v, done.out, to_f32(made.d_out)),
            "kShape: attend: d_out: expected f16 [2, 4, 9, 6], found f32 [2, 4, 9, 6]");
}

// Σ_i dO_i = Σ_j dV_j for one key head, because every row's weights sum to one.
TEST(AttendGradients, OfValuesSumToTheGradientsOfOutputs) {
  const Made made;
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  const AttendGradients found = attend_gradients(done.record, made.v, done.out, made.d_out);
  double given = 0, got = 0;
  for (int64_t i = 0; i < made.d_out.numel(); ++i) given += static_cast<double>(made.d_out.data<float>()[i]);
  for (int64_t i = 0; i < found.v.numel(); ++i) got += static_cast<double>(found.v.data<float>()[i]);
  EXPECT_NEAR(given, got, tolerance::kMass);
  EXPECT_GT(std::abs(given), 1e-2);
}

// Two segments of one sequence, the first being the memory of the second: rows and gradients equal those of the whole sequence, except that
// no gradient reaches the first segment.
TEST(AttendGradients, StopAtTheMemoryOfAnEarlierSegment) {
  constexpr int64_t kMemory = 5, kAll = 11;
  const Tensor q = numbers({1, 2, kAll, 8}, 1), k = numbers({1, 2, kAll, 8}, 2), v = numbers({1, 2, kAll, 6}, 3);
  const Tensor segment = q.slice(2, kMemory, kAll), d_out = numbers({1, 2, kAll - kMemory, 6}, 4);
  const Attended whole = attend(q, k, v, {.topology = causal()}), done = attend(segment, k, v, {.topology = causal()});
  const AttendGradients all = attend_gradients(done.record, v, done.out, d_out);
  const AttendGradients found = attend_gradients(done.record, v, done.out, d_out, nullptr, kMemory);
  ASSERT_EQ(found.k.shape(), (Shape{1, 2, kAll - kMemory, 8}));
  ASSERT_EQ(found.v.shape(), (Shape{1, 2, kAll - kMemory, 6}));
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < (kAll - kMemory) * 6; ++i) {
      EXPECT_NEAR(done.out.data<float>()[head * (kAll - kMemory) * 6 + i], whole.out.data<float>()[(head * kAll + kMemory) * 6 + i],
                  tolerance::kForwardF32);
      EXPECT_EQ(found.v.data<float>()[head * (kAll - kMemory) * 6 + i], all.v.data<float>()[(head * kAll + kMemory) * 6 + i]);
    }
    for (int64_t i = 0; i < (kAll - kMemory) * 8; ++i) {
      EXPECT_EQ(found.k.data<float>()[head * (kAll - kMemory) * 8 + i], all.k.data<float>()[(head * kAll + kMemory) * 8 + i]);
      EXPECT_EQ(found.q.data<float>()[head * (kAll - kMemory) * 8 + i], all.q.data<float>()[head * (kAll - kMemory) * 8 + i]);
    }
  }
  expect_refused(ErrorCode::kInvalidArgument, "memory is 12 keys; expected 0 to 11",
                 [&] { (void)attend_gradients(done.record, v, done.out, d_out, nullptr, kAll + 1); });
}

// One head over hidden states h, the first `memory` of which belong to an earlier segment: k =
// h·W_kᵀ, v = h·W_vᵀ, with causal queries for the others.
struct Segment {
  static constexpr int64_t kHidden = 5, kWidth = 4;  // the weights are [kWidth, kHidden]
  Tensor h, q, d_out;
  int64_t memory = 0;

  std::vector<double> projected(const std::vector<double>& weight) const {
    std::vector<double> out;  // [key, kWidth]
    for (int64_t j = 0; j < h.size(0); ++j) {
      for (int64_t o = 0; o < kWidth; ++o) {
        double sum = 0;
        for (int64_t c = 0; c < kHidden; ++c)
          sum += weight[static_cast<size_t>(o * kHidden + c)] * static_cast<double>(h.data<float>()[j * kHidden + c]);
        out.push_back(sum);
      }
    }
    return out;
  }
  // Σ out·d_out by the formula in double.
  double loss(const std::vector<double>& w_k, const std::vector<double>& w_v) const {
    const std::vector<double> k = projected(w_k), v = projected(w_v);
    double loss = 0;
    for (int64_t i = 0; i < q.size(2); ++i) {
      double total = 0, met = 0;
      for (int64_t j = 0; j <= memory + i; ++j) {
        double score = 0, value = 0;
        for (int64_t c = 0; c < kWidth; ++c) {
          const size_t at = static_cast<size_t>(j * kWidth + c);
          score += static_cast<double>(q.data<float>()[i * kWidth + c]) * k[at] / 2;
          value += static_cast<double>(d_out.data<float>()[i * kWidth + c]) * v[at];
        }
        total += std::exp(score);
        met += std::exp(score) * value;
      }
      loss += met / total;
    }
    return loss;
  }
  // Adds the gradients of the fused call to dW_k = d_kᵀ·h and dW_v, over all rows or, without `of_memory`, over those after the memory.
  void add_gradients(const std::vector<double>& w_k, const std::vector<double>& w_v, bool of_memory, std::vector<double>& d_w_k,
                     std::vector<double>& d_w_v) const {
    const auto tensor = [&](const std::vector<double>& weight) {
      const std::vector<double> rows = projected(weight);
      return Tensor::from(std::vector<float>(rows.begin(), rows.end()), {1, 1, h.size(0), kWidth});
    };
    const Tensor k = tensor(w_k), v = tensor(w_v);
    const Attended done = attend(q, k, v, {.topology = causal()});
    const int64_t left_out = of_memory ? 0 : memory;
    const AttendGradients found = attend_gradients(done.record, v, done.out, d_out, nullptr, left_out);
    for (int64_t j = left_out; j < h.size(0); ++j) {
      for (int64_t i = 0; i < kWidth * kHidden; ++i) {
        const int64_t at = (j - left_out) * kWidth + i / kHidden;
        const double state = static_cast<double>(h.data<float>()[j * kHidden + i % kHidden]);
        d_w_k[static_cast<size_t>(i)] += static_cast<double>(found.k.data<float>()[at]) * state;
        d_w_v[static_cast<size_t>(i)] += static_cast<double>(found.v.data<float>()[at]) * state;
      }
    }
  }
};

// Transformer-XL (Dai et al. 2019, §3.2): the loss over two segments with given hidden states. If `memory` drops the gradients of the
// memory's rows, the projections do not learn from them.
TEST(AttendGradients, OfProjectionsIncludeTheRowsOfAMemory) {
  constexpr int64_t kOld = 5, kNew = 6, kHidden = Segment::kHidden, kWidth = Segment::kWidth;
  const Tensor both = numbers({kOld + kNew, kHidden}, 1), q = numbers({1, 1, kOld + kNew, kWidth}, 2);
  const Segment segments[] = {
      {both.slice(0, 0, kOld), q.slice(2, 0, kOld), numbers({1, 1, kOld, kWidth}, 3), 0},
      {both, q.slice(2, kOld, kOld + kNew), numbers({1, 1, kNew, kWidth}, 4), kOld},
  };
  std::vector<double> w_k, w_v, d_w_k(kWidth * kHidden), d_w_v(kWidth * kHidden), cached_k(kWidth * kHidden), cached_v(kWidth * kHidden);
  for (size_t i = 0; i < kWidth * kHidden; ++i)
    w_k.push_back(std::sin(2.0 + static_cast<double>(i))), w_v.push_back(std::cos(3.0 * static_cast<double>(i)));
  for (const Segment& segment : segments) {
    segment.add_gradients(w_k, w_v, true, d_w_k, d_w_v);
    segment.add_gradients(w_k, w_v, false, cached_k, cached_v);
  }
  const auto slope = [&](double& weight) {
    constexpr double kStep = 1e-5;
    const double at = weight;
    const auto loss = [&] { return segments[0].loss(w_k, w_v) + segments[1].loss(w_k, w_v); };
    weight = at + kStep;
    const double above = loss();
    weight = at - kStep;
    const double below = loss();
    weight = at;
    return (above - below) / (2 * kStep);
  };
  Largest most_k, most_v;
  for (size_t i = 0; i < kWidth * kHidden; ++i) {
    const double of_k = slope(w_k[i]), of_v = slope(w_v[i]);
    EXPECT_NEAR(d_w_k[i], of_k, tolerance::kGradientF32 * (1 + std::abs(of_k))) << "W_k, element " << i;
    EXPECT_NEAR(d_w_v[i], of_v, tolerance::kGradientF32 * (1 + std::abs(of_v))) << "W_v, element " << i;
    most_k.add(cached_k[i] - of_k);
    most_v.add(cached_v[i] - of_v);
  }
  EXPECT_GT(most_k.value(), 0.1);
  EXPECT_GT(most_v.value(), 0.1);
}

TEST(AttendGradients, RefuseWrongShapesAndPartialPagedOrStaleRecords) {
  const Made made;
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  EXPECT_EQ(refusal(done.record, made.v, done.out, made.d_out), "no error");
  EXPECT_EQ(refusal(done.record, made.v, done.out, numbers({2, 4, 9, 7}, 4)),
            "kShape: attend: d_out: expected f32 [2, 4, 9, 6], found f32 [2, 4, 9, 7]");
  EXPECT_NE(refusal(done.record, made.v, Tensor(), made.d_out).find("kShape: attend: out: expected f32 [2, 4, 9, 6]"), std::string::npos);
  AttentionRecord part = done.record;
  part.q = part.q.slice(2, 3, 9);
  part.first_query = 3;
  EXPECT_EQ(refusal(part, made.v, done.out, made.d_out),
            "kUnsupported: attend_gradients: the record keeps 6 of 9 queries; expected all of them");
  KVCache cache;
  cache.append(made.k, made.v);
  const Attended paged = attend(made.q, cache.snapshot(), AttentionSpec{});
  EXPECT_NE(refusal(paged.record, Tensor(), paged.out, made.d_out).find("kUnsupported: attend_gradients: the keys are pages"),
            std::string::npos);
  Tensor q = made.q.clone();
  const Attended stale = attend(q, made.k, made.v, made.spec);
  q.mutable_data<float>()[0] = 7;
  EXPECT_EQ(refusal(stale.record, made.v, stale.out, made.d_out).substr(0, 6), "kStale");
}

}  // namespace
}  // namespace clearhead
