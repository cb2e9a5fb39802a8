// Marginals of a linear-chain random field against the sum over all choices of keys, and their gradients against its differences.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradient_case.h"
#include "clearhead/error.h"
#include "ops/chain.h"
#include "refused.h"

namespace clearhead {
namespace {

Tensor bias_of(clearhead::Run& run, const Tensor& scores, const Tensor& transitions, const std::vector<int32_t>& lengths = {}) {
  Tensor out = run.take(scores.shape());
  ops::chain_bias(run, scores, transitions, lengths, out);
  return out;
}

// ln p(z_j = 1) − s_j of one query, with the probability of each of the 2ⁿ choices.
void enumerate(const double* scores, size_t keys, size_t padded, const Values& transitions, Values& out) {
  Values chosen(keys);
  double all = 0;
  for (size_t choice = 0; choice < size_t{1} << keys; ++choice) {
    double exponent = 0;
    for (size_t key = 0; key < keys; ++key) {
      const size_t z = choice >> key & 1, next = choice >> (key + 1) & 1;
      if (z == 1) exponent += scores[key];
      if (key + 1 < keys) exponent += transitions[2 * z + next];
    }
    all += std::exp(exponent);
    for (size_t key = 0; key < keys; ++key) chosen[key] += (choice >> key & 1) != 0 ? std::exp(exponent) : 0;
  }
  for (size_t key = 0; key < padded; ++key) out.push_back(key < keys ? std::log(chosen[key] / all) - scores[key] : 0);
}

TEST_P(TapeOn, ChainMarginalsEqualThoseOfAllChoices) {
  const std::vector<int32_t> lengths = {7, 4, 1};
  for (const bool has_lengths : {false, true}) {
    expect_gradients(
        {random_tensor({3, 2, 4, 7}, 5), random_tensor({2, 2}, 6)},
        [&](clearhead::Run& run, std::vector<Tensor>& in) {
          return bias_of(run, in[0], in[1], has_lengths ? lengths : std::vector<int32_t>{});
        },
        [&](const std::vector<Values>& in) {
          Values out;
          for (size_t row = 0; row < 24; ++row)
            enumerate(in[0].data() + row * 7, has_lengths ? static_cast<size_t>(lengths[row / 8]) : 7, 7, in[1], out);
          return out;
        });
  }
}

TEST_P(TapeOn, ChainBiasHasTheSameBitsForAnyNumberOfThreads) {
  expect_the_same_bits_for_any_threads({random_tensor({4, 1, 200, 60}, 7), random_tensor({2, 2}, 8)},
                                       [](clearhead::Run& run, std::vector<Tensor>& in) { return bias_of(run, in[0], in[1]); });
}

// Scores far from zero: no message overflows, and the marginals stay probabilities.
TEST(Chain, LargeScoresGiveFiniteProbabilities) {
  Arena arena;
  clearhead::Run run{arena};
  const std::vector<float> large = {400, -400, 900, 0, -900, 300};
  const Tensor scores = Tensor::from(large, {1, 1, 1, 6});
  const Tensor out = bias_of(run, scores, Tensor::from(std::vector<float>{50, -50, -50, 50}, {2, 2}));
  for (size_t key = 0; key < 6; ++key) {
    const double log_probability = static_cast<double>(out.data<float>()[key]) + static_cast<double>(large[key]);
    EXPECT_TRUE(std::isfinite(log_probability)) << key;
    EXPECT_LE(log_probability, 1e-4) << key;
  }
}

TEST(Chain, OtherShapesAndLengthsAreRefused) {
  Arena arena;
  clearhead::Run run{arena};
  const Tensor scores = random_tensor({2, 1, 3, 5}, 1), transitions = random_tensor({2, 2}, 2);
  EXPECT_EQ(
      error_of([&] { (void)bias_of(run, scores, random_tensor({4}, 2)); }),
      "kShape: chain_bias: the scores are [2, 1, 3, 5], the transitions [4], 0 lengths; expected contiguous [batch, head, query, key] "
      "and [2, 2], and one length for each sequence or none");
  EXPECT_EQ(error_of([&] {
              (void)bias_of(run, scores, transitions, {5, 6});
            }),
            "kInvalidArgument: chain_bias: a sequence of 6 keys; expected 1 to 5");
}

}  // namespace
}  // namespace clearhead
