// Feature maps for linear attention, with their gradients.
//
//   elu + 1                φ = x + 1 if x > 0, else e^x          d_x = min(φ, 1)·d_φ
//   positive random        φ_r = e^{w_r·y − ‖y‖²/2 − c}/√m       d_y = Σ_r d_φ_r φ_r (w_r − y),  y = x/d^¼
//
// w_r is row r of the projection, m the number of its rows, and c the shift (FeatureShift). The products w_r·y and
// Σ_r (d_φ φ)_r w_r are RowProducts, so with a shift per row or none the features of a row do not depend on other rows.
// Sources: Katharopoulos et al. 2020, eq. 7; Choromanski et al. 2021, lemma 1, eq. 5 and §2.4.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "base/format.h"
#include "base/parallel.h"
#include "base/random.h"
#include "ops/ops.h"
#include "ops/row_products.h"

namespace clearhead {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kGrain = 1 << 14;  // elements per task

void check_features(const char* what, const Tensor& x) {
  if (!x.defined() || x.rank() != 4 || x.dtype() != DType::kF32) {
    fail(ErrorCode::kShape, "{}: x is {} {}; expected f32 [batch, head, length, d]", what, x.defined() ? to_string(x.dtype()) : "missing",
         x.defined() ? to_string(x.shape()) : "");
  }
}

void check_like(const char* what, const char* name, const Tensor& tensor, const Shape& shape) {
  if (!tensor.defined() || tensor.dtype() != DType::kF32 || tensor.shape() != shape)
    fail(ErrorCode::kShape, "{}: {} is {}; expected f32 {}", what, name, tensor.defined() ? to_string(tensor.shape()) : "missing",
         to_string(shape));
}

void check_projection(const char* what, const Tensor& x, const Tensor& projection) {
  check_features(what, x);
  if (projection.defined() && projection.rank() == 2 && projection.dtype() == DType::kF32 && projection.size(1) == x.size(3) &&
      projection.size(0) >= 1) {
    return;
  }
  fail(ErrorCode::kShape, "{}: the projection is {}; expected f32 [features, {}]", what,
       projection.defined() ? to_string(projection.shape()) : "missing", x.size(3));
}

void check_out(const char* what, const Tensor& out, const Shape& shape) {
  check_like(what, "out", out, shape);
  if (!out.is_contiguous()) fail(ErrorCode::kShape, "{}: out is strided; expected a contiguous tensor", what);
}

Shape features_of(const Tensor& x, const Tensor& projection) { return {x.size(0), x.size(1), x.size(2), projection.size(0)}; }

// out = f(x, other), elementwise. Equal shapes; x and other with any strides, out contiguous.
template <class F>
void element_by_element(const Tensor& x, const Tensor& other, Tensor& out, const F& f) {
  if (out.numel() == 0) return;
  const Tensor a = x.contiguous(), b = other.contiguous();
  const float *from = a.data<float>(), *also = b.data<float>();
  float* to = out.mutable_data<float>();
  parallel_ranges(out.numel(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) to[i] = f(from[i], also[i]);
  });
}

// e^x with a relative error of 2ε; results below 2⁻¹²⁶ are 0, and NaN gives NaN. It has no branches or calls, so that the
// compiler vectorises it, which it does not do with std::exp.
// e^x = 2^n·e^r, where n is the integer nearest to x·log₂e and r = x − n·ln 2. ln 2 is split in two parts; the first has nine significant
// bits, so that its products with n are exact.
float exponential(float x) {
  constexpr float kRound = 12582912;  // 1.5·2²³: adding it rounds a number to the nearest integer
  const float shifted = x * std::numbers::log2e_v<float> + kRound, n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = (p * r * r + r) + 1;
  const uint32_t whole = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound) + 256, half = whole / 2;
  p *= std::bit_cast<float>((half - 1) << 23);  // 2^(n/2), twice: 2¹²⁸ is not a float
  p *= std::bit_cast<float>((whole - half - 1) << 23);
  const uint32_t is_small = -static_cast<uint32_t>(x < -87.33654F), is_large = -static_cast<uint32_t>(x > 88.72284F);  // all bits or none
  return std::bit_cast<float>((std::bit_cast<uint32_t>(p) & ~(is_small | is_large)) | (is_large & 0x7F800000U));
}

// The order of the operands of max and min keeps NaN.
void elu_into(const Tensor& x, Tensor& out) {
  element_by_element(x, x, out, [](float value, float) { return std::max(value, 0.0F) + std::min(exponential(value), 1.0F); });
}

double shrink_of(int64_t d) { return 1 / std::sqrt(std::sqrt(static_cast<double>(std::max<int64_t>(1, d)))); }

// The largest value that is not NaN; −∞ if there is none.
double largest(const float* values, int64_t count) {
  float most[8];
  std::fill(most, most + 8, -std::numeric_limits<float>::infinity());
  int64_t r = 0;
  for (; r + 8 <= count; r += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) most[lane] = values[r + lane] > most[lane] ? values[r + lane] : most[lane];
  }
  for (; r < count; ++r) most[0] = std::max(most[0], values[r]);
  return static_cast<double>(*std::max_element(most, most + 8));
}

// ‖y‖²/2 in base 2; NaN if the row is not finite.
double half_square(const float* x, int64_t d) {
  double sum = 0;
  for (int64_t c = 0; c < d; ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return std::isfinite(sum) ? sum * shrink_of(d) * shrink_of(d) / 2 * std::numbers::log2e : kNaN;
}

// The number to subtract from the scores of each row, in base 2: ‖y‖²/2 plus the shift. A largest exponent that is not finite is
// not used as a shift.
std::vector<double> subtrahends(const Tensor& rows, const float* scores_of, int64_t m, FeatureShift shift) {
  const int64_t d = rows.size(3), length = rows.size(2), count = rows.size(0) * rows.size(1) * length;
  std::vector<double> taken(static_cast<size_t>(count)), most(static_cast<size_t>(count), 0);
  parallel_ranges(count, std::max<int64_t>(1, kGrain / (m + d)), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const auto at = static_cast<size_t>(row);
      taken[at] = half_square(rows.data<float>() + row * d, d);
      if (shift != FeatureShift::kNone) most[at] = largest(scores_of + row * m, m) - taken[at];
    }
  });
  if (shift == FeatureShift::kAllRows) {
    for (auto first = most.begin(); first != most.end(); first += length) {
      double of_head = -kInfinity;
      std::for_each(first, first + length, [&](double value) { of_head = std::isfinite(value) ? std::max(of_head, value) : of_head; });
      std::fill(first, first + length, of_head);
    }
  }
  for (size_t row = 0; row < taken.size(); ++row) taken[row] += std::isfinite(most[row]) ? most[row] : 0;
  return taken;
}

void random_features_into(const Tensor& x, const Tensor& projection, FeatureShift shift, Tensor& out) {
  if (out.numel() == 0) return;
  const Tensor rows = x.contiguous();
  const int64_t m = projection.size(0), d = projection.size(1), count = out.numel() / m;
  float* to = out.mutable_data<float>();
  if (d > 0) RowProducts(rows, projection, shrink_of(d)).take(0, count, to);
  if (d == 0) std::fill(to, to + out.numel(), 0.0F);
  const std::vector<double> taken = subtrahends(rows, to, m, shift);
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(m)));
  parallel_ranges(count, std::max<int64_t>(1, kGrain / m), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const double less = taken[static_cast<size_t>(row)];
      for (int64_t i = row * m; i < (row + 1) * m; ++i)
        to[i] = exponential(static_cast<float>((static_cast<double>(to[i]) - less) * std::numbers::ln2)) * scale;
    }
  });
}

}  // namespace

Tensor elu_plus_one(const Tensor& x) {
  check_features("elu_plus_one", x);
  Tensor out = Tensor::empty(x.shape());
  elu_into(x, out);
  return out;
}

Tensor elu_plus_one_gradient(const Tensor& x, const Tensor& d_features) {
  check_features("elu_plus_one_gradient", x);
  check_like("elu_plus_one_gradient", "d_features", d_features, x.shape());
  Tensor out = Tensor::empty(x.shape());
  element_by_element(x, d_features, out, [](float value, float d) { return exponential(std::min(value, 0.0F)) * d; });
  return out;
}

Tensor orthogonal_projection(int64_t features, int64_t d, uint64_t seed) {
  if (features < 1 || d < 1)
    fail(ErrorCode::kInvalidArgument, "orthogonal_projection: {} features of {} channels; expected 1 or more of each", features, d);
  Tensor out = Tensor::empty({features, d});
  float* to = out.mutable_data<float>();
  std::vector<std::vector<double>> block;  // rows of the current block, orthonormal
  uint64_t counter = 0;
  for (int64_t r = 0; r < features; ++r) {
    if (r % d == 0) block.clear();
    std::vector<double> row(static_cast<size_t>(d));
    double length = 0, left = 0;
    for (double& x : row) x = random_normal(seed, counter++);
    for (int64_t c = 0; c < d; ++c)
      length += std::pow(random_normal(seed, counter++), 2);  // from other draws: direction and length are independent
    for (int twice = 0; twice < 2; ++twice) {                 // Gram-Schmidt, repeated to remove what rounding left
      for (const std::vector<double>& other : block) {
        double along = 0;
        for (size_t c = 0; c < row.size(); ++c) along += row[c] * other[c];
        for (size_t c = 0; c < row.size(); ++c) row[c] -= along * other[c];
      }
    }
    for (const double x : row) left += x * x;
    for (double& x : row) x /= std::sqrt(left);
    for (size_t c = 0; c < row.size(); ++c) to[r * d + static_cast<int64_t>(c)] = static_cast<float>(row[c] * std::sqrt(length));
    block.push_back(std::move(row));
  }
  return out;
}

Tensor positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift) {
  check_projection("positive_random_features", x, projection);
  Tensor out = Tensor::empty(features_of(x, projection));
  random_features_into(x, projection, shift, out);
  return out;
}

Tensor positive_random_features_gradient(const Tensor& x, const Tensor& projection, const Tensor& features, const Tensor& d_features) {
  constexpr const char* kWhat = "positive_random_features_gradient";
  check_projection(kWhat, x, projection);
  check_like(kWhat, "features", features, features_of(x, projection));
  check_like(kWhat, "d_features", d_features, features_of(x, projection));
  Tensor out = Tensor::empty(x.shape());
  if (out.numel() == 0) return out;
  const int64_t m = projection.size(0), d = projection.size(1), count = out.numel() / d;
  Tensor product = Tensor::empty(features.shape());
  element_by_element(features, d_features, product, [](float value, float d_value) { return value * d_value; });
  const Tensor rows = x.contiguous();
  const float *weights = product.data<float>(), *from = rows.data<float>();
  float* to = out.mutable_data<float>();
  const double shrink = shrink_of(d);
  RowProducts(product, projection.permute({1, 0}), shrink).take(0, count, to);
  parallel_ranges(count, std::max<int64_t>(1, kGrain / (m + d)), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      double sum = 0;
      for (int64_t r = 0; r < m; ++r) sum += static_cast<double>(weights[row * m + r]);
      for (int64_t i = row * d; i < (row + 1) * d; ++i)
        to[i] = static_cast<float>(static_cast<double>(to[i]) * std::numbers::ln2 - sum * static_cast<double>(from[i]) * shrink * shrink);
    }
  });
  return out;
}

namespace ops {

void elu_plus_one(Run& run, const Tensor& x, Tensor& out) {
  check_features("elu_plus_one", x);
  check_out("elu_plus_one", out, x.shape());
  elu_into(x, out);
  if (!run.records({&x})) return;
  run.recorder->record("elu_plus_one", out, {out}, [=, x = shadow_of(x)](Gradients& gradients) {
    Tensor d_x = Tensor::empty(out.shape());
    element_by_element(out, gradients.of(out), d_x, [](float value, float d) { return std::min(value, 1.0F) * d; });
    Gradients::Place to = gradients.place(x);
    add_strided(d_x, to.gradient, to.accumulate);
  });
}

void positive_random_features(Run& run, const Tensor& x, const Tensor& projection, FeatureShift shift, Tensor& out) {
  constexpr const char* kWhat = "positive_random_features";
  check_projection(kWhat, x, projection);
  check_out(kWhat, out, features_of(x, projection));
  if (run.records({&projection}))
    fail(ErrorCode::kUnsupported, "{}: the projection requires a gradient; expected a fixed random projection", kWhat);
  random_features_into(x, projection, shift, out);
  if (!run.records({&x})) return;
  run.recorder->record(kWhat, out, {x, projection, out}, [=](Gradients& gradients) {
    const Tensor d_x = positive_random_features_gradient(x, projection, out, gradients.of(out));
    Gradients::Place to = gradients.place(x);
    add_strided(d_x, to.gradient, to.accumulate);
  });
}

}  // namespace ops
}  // namespace clearhead
