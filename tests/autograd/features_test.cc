// Gradients of feature maps: alone, and within linear attention, back to the weight that produced q, k and v.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradient_case.h"
#include "clearhead/error.h"
#include "refused.h"

namespace clearhead {
namespace {

Tensor features_of(clearhead::Run& run, const Tensor& x, const Tensor& projection, FeatureShift shift) {
  Tensor out = run.take({x.size(0), x.size(1), x.size(2), projection.defined() ? projection.size(0) : x.size(3)});
  if (projection.defined()) ops::positive_random_features(run, x, projection, shift, out);
  if (!projection.defined()) ops::elu_plus_one(run, x, out);
  return out;
}

// The features of one row; elu + 1 if there is no projection.
Values features_of(const Values& x, const Tensor& projection) {
  Values out;
  if (!projection.defined()) {
    for (const double value : x) out.push_back(value > 0 ? value + 1 : std::exp(value));
    return out;
  }
  const Values w = values_of(projection);
  const double shrink = 1 / std::sqrt(std::sqrt(static_cast<double>(x.size())));
  const size_t count = w.size() / x.size();
  for (size_t r = 0; r < count; ++r) {
    double exponent = 0;
    for (size_t c = 0; c < x.size(); ++c) exponent += shrink * x[c] * (w[r * x.size() + c] - shrink * x[c] / 2);
    out.push_back(std::exp(exponent) / std::sqrt(static_cast<double>(count)));
  }
  return out;
}

TEST_P(TapeOn, FeatureGradientsFlowIntoAViewOfTheInput) {
  for (const Tensor& projection : {Tensor(), orthogonal_projection(11, 4, 3)}) {
    expect_gradients(
        {random_tensor({5, 3, 4}, 41)},  // [length, head, d]; the first head is not read
        [&](clearhead::Run& run, std::vector<Tensor>& in) {
          return features_of(run, in[0].reshape({1, 5, 3, 4}).slice(2, 1, 3).permute({0, 2, 1, 3}), projection, FeatureShift::kNone);
        },
        [&](const std::vector<Values>& in) {
          Values out;
          for (int64_t head = 1; head < 3; ++head) {
            for (int64_t i = 0; i < 5; ++i) {
              const auto begin = in[0].begin() + (i * 3 + head) * 4;
              const Values row = features_of(Values(begin, begin + 4), projection);
              out.insert(out.end(), row.begin(), row.end());
            }
          }
          return out;
        });
  }
}

constexpr int64_t kLength = 7, kIn = 5, kHeads = 2, kWidth = 4;

// x·Wᵀ = q | k | v by heads, then linear attention over the features of q and k.
Values linear_attention(const std::vector<Values>& in, const Tensor& projection) {
  const auto row = [&](int64_t i, int64_t part) {  // part: one of 3·heads
    Values out(kWidth, 0);
    for (int64_t c = 0; c < kWidth; ++c) {
      for (int64_t a = 0; a < kIn; ++a)
        out[static_cast<size_t>(c)] += in[0][static_cast<size_t>(i * kIn + a)] * in[1][static_cast<size_t>((part * kWidth + c) * kIn + a)];
    }
    return out;
  };
  Values out(static_cast<size_t>(kLength * kHeads * kWidth), 0);
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t i = 0; i < kLength; ++i) {
      const Values of_query = features_of(row(i, head), projection);
      Values sums(kWidth, 0);
      double total = 0;
      for (int64_t j = 0; j <= i; ++j) {
        const Values of_key = features_of(row(j, kHeads + head), projection), value = row(j, 2 * kHeads + head);
        double score = 0;
        for (size_t r = 0; r < of_key.size(); ++r) score += of_query[r] * of_key[r];
        total += score;
        for (size_t c = 0; c < kWidth; ++c) sums[c] += score * value[c];
      }
      for (int64_t c = 0; c < kWidth; ++c)
        out[static_cast<size_t>((i * kHeads + head) * kWidth + c)] = sums[static_cast<size_t>(c)] / total;
    }
  }
  return out;
}

// The keys have one shift per head, and each query has its own shift. Both cancel, so the
// gradients are those of the formula without shifts.
TEST_P(TapeOn, LinearAttentionIsTrainedThroughItsFeatures) {
  const Site site{"dec", 0, 0};
  const AttentionSpec spec{.topology = causal(), .normaliser = LinearAttention{}};
  for (const Tensor& projection : {Tensor(), orthogonal_projection(9, kWidth, 5)}) {
    for (const bool shifts : {false, true}) {
      SCOPED_TRACE(std::string(projection.defined() ? "random" : "elu") + (shifts ? ", shifted" : ""));
      expect_gradients(
          {random_tensor({kLength, kIn}, 42), random_tensor({3 * kHeads * kWidth, kIn}, 43, 0.4)},
          [&](clearhead::Run& run, std::vector<Tensor>& in) {
            Tensor projected = run.take({kLength, 3 * kHeads * kWidth}), out = run.take({kLength, kHeads * kWidth});
            ops::linear(run, in[0], LiveWeight(in[1]), {}, projected);
            const auto heads = [&](int64_t part) {
              return projected.reshape({1, kLength, 3 * kHeads, kWidth}).slice(2, part * kHeads, (part + 1) * kHeads).permute({0, 2, 1, 3});
            };
            const Tensor q = features_of(run, heads(0), projection, shifts ? FeatureShift::kEachRow : FeatureShift::kNone);
            const Tensor k = features_of(run, heads(1), projection, shifts ? FeatureShift::kAllRows : FeatureShift::kNone);
            Tensor seen = out.reshape({1, kLength, kHeads, kWidth}).permute({0, 2, 1, 3});
            ops::attention(run, {site, q, k, heads(2), spec, Tensor()}, seen);
            return out;
          },
          [&](const std::vector<Values>& in) { return linear_attention(in, projection); });
    }
  }
}

TEST_P(TapeOn, FeaturesAreTheSameBitsForAnyThreads) {
  for (const Tensor& projection : {Tensor(), orthogonal_projection(40, 16, 3)}) {
    expect_the_same_bits_for_any_threads({random_tensor({2, 3, 400, 16}, 44)}, [&](clearhead::Run& run, std::vector<Tensor>& in) {
      return features_of(run, in[0], projection, FeatureShift::kEachRow);
    });
  }
}

TEST(Features, RefuseATrainableProjectionAndInvalidOutputs) {
  Arena arena;
  Tape tape;
  clearhead::Run run{arena, nullptr, &tape};
  const Tensor x = random_tensor({1, 1, 6, 4}, 45), w = random_tensor({6, 4}, 46);
  tape.watch(w);
  Tensor out = Tensor::empty({1, 1, 6, 6}), strided = out.permute({0, 1, 3, 2});
  expect_refused(ErrorCode::kUnsupported, "the projection requires a gradient",
                 [&] { ops::positive_random_features(run, x, w, FeatureShift::kNone, out); });
  expect_refused(ErrorCode::kShape, "out is strided",
                 [&] { ops::positive_random_features(run, x, w.clone(), FeatureShift::kNone, strided); });
  expect_refused(ErrorCode::kShape, "out is [1, 1, 6, 6]; expected f32 [1, 1, 6, 4]", [&] { ops::elu_plus_one(run, x, out); });
}

}  // namespace
}  // namespace clearhead
