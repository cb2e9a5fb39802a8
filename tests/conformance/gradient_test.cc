// Gradients: the reference against finite differences of the double oracle, and every backend against the reference.
//
// The loss is Σ out·d_out for a random d_out. The differences are Richardson extrapolations, (4 D(h) − D(2h)) / 3, of the oracle, which
// does not use records.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <optional>
#include <utility>

#include "backends/oracle.h"
#include "backends/registry.h"
#include "base/parallel.h"
#include "base/random.h"
#include "cases.h"
#include "compare.h"
#include "tolerance.h"

namespace clearhead::conformance {
namespace {

using reference::Gradients;
using reference::Sum;

// Returns whether the keys are a tensor. The covering's cases with paged keys have no gradients.
bool has_gradients(const Case& c) { return c.v.defined(); }

Tensor upstream_of(const Case& c, size_t index) { return upstream_of(c, static_cast<uint32_t>(104729 * index + 11)); }

Gradients expected_of(const Case& c, size_t index) { return expected_gradients(c, upstream_of(c, index)); }

// The expected gradients for all backends, computed once.
const Gradients& expected_once(const Case& c, size_t index) {
  static std::map<size_t, Gradients> cache;
  const auto found = cache.find(index);
  return found != cache.end() ? found->second : cache.emplace(index, expected_of(c, index)).first->second;
}

// A loss, and a hash of which keys have a nonzero weight and which channels are above LeakyReLU's kink. The loss is differentiable only
// where this hash stays constant.
struct Loss {
  double value = 0;
  uint64_t support = 0;
};

// The hash for one row of an additive score with LeakyReLU.
uint64_t above_the_kink(const Case& c, int64_t batch, int64_t head, int64_t query) {
  const auto* additive = std::get_if<Additive>(&c.spec.score);
  if (!additive || additive->activation != Additive::Activation::kLeakyRelu) return 0;
  const float* q = c.q.data<float>() + batch * c.q.stride(0) + head * c.q.stride(1) + query * c.q.stride(2);
  const float* k = c.k.data<float>() + batch * c.k.stride(0) + head * c.shape.key_heads / c.shape.heads * c.k.stride(1);
  uint64_t sum = 0;
  for (int64_t j = 0; j < c.shape.keys; ++j) {
    for (int64_t ch = 0; ch < c.shape.d_k; ++ch) {
      const double x = static_cast<double>(q[ch * c.q.stride(3)]) + static_cast<double>(k[j * c.k.stride(2) + ch * c.k.stride(3)]);
      if (x > 0)
        sum += mix_bits(static_cast<uint64_t>((head * c.shape.queries + query) * c.shape.keys + j) << 32 | static_cast<uint64_t>(ch));
    }
  }
  return sum;
}

// Σ out·d_out + Σ L·d_L over these rows of one sequence and one key head's query heads, in double.
Loss loss(const Case& c, const Tensor& d_out, int64_t batch, Range heads, Range queries) {
  const int64_t rows = heads.size() * queries.size();
  std::vector<double> parts(static_cast<size_t>(rows), 0);
  std::vector<uint64_t> supports(static_cast<size_t>(rows), 0);
  const Tensor d_log = upstream_of_log_sum_exp(c, d_out);
  parallel_for(rows, [&](int64_t row, int) {
    const int64_t head = heads.begin + row / queries.size(), query = queries.begin + row % queries.size();
    const OracleRow out = oracle_row(c.spec, c.q, c.keys, c.v, batch, head, query);
    const float* upstream = d_out.data<float>() + batch * d_out.stride(0) + head * d_out.stride(1) + query * d_out.stride(2);
    for (int64_t ch = 0; ch < c.shape.d_v; ++ch)
      parts[static_cast<size_t>(row)] += out.out[static_cast<size_t>(ch)] * static_cast<double>(upstream[ch * d_out.stride(3)]);
    if (d_log.defined() && out.sees_any) {
      const double log_sum_exp = out.m * std::numbers::ln2 + std::log(out.l);
      parts[static_cast<size_t>(row)] +=
          log_sum_exp * static_cast<double>(d_log.select(0, batch).select(0, head).data<float>()[query * d_log.stride(2)]);
    }
    supports[static_cast<size_t>(row)] = above_the_kink(c, batch, head, query);
    if (std::holds_alternative<Softmax>(c.spec.normaliser)) return;
    for (size_t j = 0; j < out.weights.size(); ++j) {
      if (out.weights[j] > 0) supports[static_cast<size_t>(row)] += mix_bits(static_cast<uint64_t>(row) << 32 | j);
    }
  });
  Loss sum;
  for (const double part : parts) sum.value += part;
  for (const uint64_t support : supports) sum.support += support;
  return sum;
}

// d loss / d element by differences, or nothing near a kink. The element is restored. `support` is the unchanged loss's.
template <class LossNow>
std::optional<double> difference(float& element, const LossNow& loss_now, uint64_t support) {
  const float x = element;
  bool is_smooth = true;
  const auto slope = [&](float step) {
    element = x + step;
    const Loss above = loss_now();
    const double to = static_cast<double>(element);
    element = x - step;
    const Loss below = loss_now();
    const double from = static_cast<double>(element);
    element = x;
    is_smooth = is_smooth && above.support == support && below.support == support;
    return (above.value - below.value) / (to - from);
  };
  const double slopes = (4 * slope(0x1p-11F) - slope(0x1p-10F)) / 3;
  return is_smooth ? std::optional(slopes) : std::nullopt;
}

// A few elements of a tensor: their addresses and row-major indices.
struct Element {
  float* address;
  size_t index;
  std::vector<int64_t> at;
};
std::vector<Element> some_elements(Tensor& tensor, Random& random, int count) {
  std::vector<Element> out;
  if (tensor.numel() == 0) return out;
  float* data = tensor.mutable_data<float>();
  for (int n = 0; n < count; ++n) {
    Element element{data, 0, {}};
    for (int axis = 0; axis < tensor.rank(); ++axis) {
      const int64_t at = static_cast<int64_t>(random() % static_cast<uint32_t>(tensor.size(axis)));
      element.address += at * tensor.stride(axis);
      element.index = element.index * static_cast<size_t>(tensor.size(axis)) + static_cast<size_t>(at);
      element.at.push_back(at);
    }
    out.push_back(element);
  }
  return out;
}

// Returns whether there was a slope to compare with.
bool expect_slope(const char* what, const std::vector<Sum>& gradient, const Element& element, std::optional<double> slope) {
  if (!std::isfinite(*element.address) || !slope) return false;  // a bias of −∞ hides its pair, so there is no slope
  const Sum& found = gradient[element.index];
  EXPECT_NEAR(found.value, *slope, tolerance::kSlopeOfOracle * found.size + 1e-9) << what << " element " << element.index;
  return true;
}

TEST(Gradients, OfTheReferenceMatchFiniteDifferencesOfTheOracle) {
  int compared = 0, operands = 0, sparse = 0, keys = 0, values = 0;
  for (size_t index = 0; index < cases().size() && !HasFailure(); ++index) {
    Case c = cases()[index];
    const AttentionShape& s = c.shape;
    if (!has_gradients(c) || s.heads * s.queries * s.keys > 60'000) continue;
    if (c.q.dtype() != DType::kF32 && s.queries * s.keys > 20'000) continue;  // as in f32, because the values are widened below
    if (std::holds_alternative<Hard>(c.spec.normaliser)) continue;  // a choice has no slope; backend_ref/normalise_test.cc tests its rules
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    const Gradients expected = expected_of(c, index);
    const Tensor d_out = to_f32(upstream_of(c, index));
    c.q = to_f32(c.q), c.k = to_f32(c.k), c.v = to_f32(c.v), c.keys = c.k;  // every element has its own memory: no sharing between heads
    Random random(static_cast<uint32_t>(index));
    const int64_t group = s.heads / s.key_heads;
    const auto slope_of = [&](const Element& e, Range heads, Range queries) {
      const auto loss_now = [&] { return loss(c, d_out, e.at[0], heads, queries); };
      return difference(*e.address, loss_now, loss_now().support);
    };
    const Range all{0, s.queries};
    for (const Element& e : some_elements(c.q, random, 2)) {  // an element of q affects only its own query
      const bool is_smooth = expect_slope("q", expected.q, e, slope_of(e, {e.at[1], e.at[1] + 1}, {e.at[2], e.at[2] + 1}));
      sparse += is_smooth && !std::holds_alternative<Softmax>(c.spec.normaliser);
    }
    for (const Element& e : some_elements(c.k, random, 2))
      keys += expect_slope("k", expected.k, e, slope_of(e, {e.at[1] * group, (e.at[1] + 1) * group}, all));
    for (const Element& e : some_elements(c.v, random, 1))
      values += expect_slope("v", expected.v, e, slope_of(e, {e.at[1] * group, (e.at[1] + 1) * group}, all));
    const auto everything = [&] {
      Loss sum;
      for (int64_t b = 0; b < s.batch; ++b) {
        const Loss part = loss(c, d_out, b, {0, s.heads}, all);
        sum.value += part.value;
        sum.support += part.support * static_cast<uint64_t>(2 * b + 1);
      }
      return sum;
    };
    std::optional<uint64_t> support;
    size_t next = 0;
    for_each_operand(c.spec, [&](const std::string& name, Tensor& operand) {
      const std::vector<Sum>& gradient = expected.operands.all()[next++];
      if (operand.dtype() != DType::kF32) return;
      operand = operand.clone();
      if (!support) support = everything().support;
      for (const Element& e : some_elements(operand, random, 2))
        operands += expect_slope(name.c_str(), gradient, e, difference(*e.address, everything, *support));
    });
    ++compared;
  }
  EXPECT_GT(compared, 100);
  EXPECT_GT(operands, 100);
  EXPECT_GT(sparse, 50);
  EXPECT_GT(keys, compared);
  EXPECT_GT(values, compared / 2);
}

class Backward : public testing::TestWithParam<const Backend*> {
 protected:
  const Backend& backend_ = *GetParam();
  void TearDown() override { set_threads(2); }
};

TEST_P(Backward, GradientsAgreeWithTheReference) {
  int compared = 0;
  for (size_t index = 0; index < cases().size() && !HasFailure(); ++index) {
    const Case& c = cases()[index];
    if (!has_gradients(c)) continue;
    SCOPED_TRACE("case " + std::to_string(index) + ": " + c.name);
    Check check;
    check_gradients(backend_, c, upstream_of(c, index), expected_once(c, index), check);
    EXPECT_FALSE(check.failed()) << check.what();
    ++compared;
  }
  EXPECT_GT(compared, 80);
}

// Several strips of a group's heads, over many chunks of keys.
TEST_P(Backward, GradientsOfManyRowsInBf16AgreeWithTheReference) {
  Random random(31);
  const auto rounded = [&](int64_t heads, int64_t width) { return to_dtype(normal(random, {1, heads, 1250, width}), DType::kBF16); };
  static std::map<int64_t, Gradients> expected;                                              // by d_v
  const auto widths = {std::pair<int64_t, int64_t>{16, 12}, {48, 16}, {32, 64}, {64, 128}};  // matrix kernels accept all but the first
  for (const auto& [d_k, d_v] : widths) {
    Case c{.name = "causal", .shape = {.batch = 1, .heads = 2, .key_heads = 1, .queries = 1250, .keys = 1250, .d_k = d_k, .d_v = d_v}};
    c.spec.topology = causal();
    c.q = rounded(2, d_k), c.k = rounded(1, d_k), c.v = rounded(1, d_v), c.keys = c.k;
    const Tensor d_out = upstream_of(c, size_t{7});
    if (!expected.contains(d_v)) expected.emplace(d_v, expected_gradients(c, d_out));
    Check check;
    check_gradients(backend_, c, d_out, expected.at(d_v), check);
    EXPECT_FALSE(check.failed()) << "d " << d_k << "/" << d_v << ": " << check.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Backward, testing::ValuesIn(runnable_backends()),
                         [](const auto& table) { return table_name(*table.param); });

}  // namespace
}  // namespace clearhead::conformance
