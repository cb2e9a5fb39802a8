// Feature maps of linear attention, forward beside gradient.
//
//   elu + 1                x + 1, or e^x                         slope 1, or e^x
//   positive random        φ_r = e^{w_r·y − ‖y‖²/2 − c}/√m       d_y = Σ_r d_φ_r φ_r (w_r − y),  y = x/d^¼
//
// Sources: Katharopoulos et al. 2020, eq. 7; Choromanski et al. 2021, lemma 1, eq. 5 and §2.4.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/format.h"
#include "base/parallel.h"
#include "base/random.h"
#include "clearhead/attend.h"

namespace clearhead {
namespace {

void check_features(const char* what, const Tensor& x) {
  if (!x.defined() || x.rank() != 4 || x.dtype() != DType::kF32)
    fail(ErrorCode::kShape, "{}: expected x f32 [batch, head, length, d]", what);
}

void check_like(const char* what, const char* name, const Tensor& tensor, const Shape& shape) {
  if (!tensor.defined() || tensor.dtype() != DType::kF32 || tensor.shape() != shape)
    fail(ErrorCode::kShape, "{}: {} is {}; expected f32 {}", what, name, tensor.defined() ? to_string(tensor.shape()) : "missing",
         to_string(shape));
}

template <class F>
Tensor element_by_element(const Tensor& x, const Tensor& other, const F& f) {
  const Tensor a = x.contiguous(), b = other.contiguous();
  Tensor out = Tensor::empty(x.shape());
  if (out.numel() == 0) return out;
  const float *from = a.data<float>(), *also = b.data<float>();
  float* to = out.mutable_data<float>();
  parallel_ranges(out.numel(), 1 << 14, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) to[i] = f(from[i], also[i]);
  });
  return out;
}

// The projection turned: [d][m], so that features are neighbours.
struct Projection {
  int64_t m, d;
  std::vector<float> turned;
  float shrink;  // d^−¼

  Projection(const char* what, const Tensor& x, const Tensor& projection) {
    check_features(what, x);
    if (!projection.defined() || projection.rank() != 2 || projection.dtype() != DType::kF32 || projection.size(1) != x.size(3) ||
        projection.size(0) < 1) {
      fail(ErrorCode::kShape, "{}: the projection is {}; expected f32 [features, {}]", what,
           projection.defined() ? to_string(projection.shape()) : "missing", x.size(3));
    }
    m = projection.size(0), d = projection.size(1);
    turned.resize(static_cast<size_t>(m * d));
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < d; ++c) {
        turned[static_cast<size_t>(c * m + r)] = projection.data<float>()[r * projection.stride(0) + c * projection.stride(1)];
      }
    }
    shrink = static_cast<float>(1 / std::sqrt(std::sqrt(static_cast<double>(std::max<int64_t>(1, d)))));
  }
};

const float* row_at(const Tensor& x, int64_t row) {
  const int64_t length = x.size(2), map = row / length;
  return x.data<float>() + map / x.size(1) * x.stride(0) + map % x.size(1) * x.stride(1) + row % length * x.stride(2);
}

// w·y − ‖y‖²/2 of every w; returns the largest.
float exponents(const Projection& by, const float* x, int64_t step, float* to) {
  std::fill(to, to + by.m, 0.0F);
  float square = 0;
  for (int64_t c = 0; c < by.d; ++c) {
    const float y = x[c * step] * by.shrink, *w = by.turned.data() + c * by.m;
    square += y * y;
    for (int64_t r = 0; r < by.m; ++r) to[r] += w[r] * y;
  }
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t r = 0; r < by.m; ++r) {
    to[r] -= square / 2;
    largest = std::max(largest, to[r]);  // a NaN is in no order: it stays in its row
  }
  return largest;
}

// Of the largest exponents; what is not finite is no shift.
float shift_of(float largest) { return std::isfinite(largest) ? largest : 0; }

}  // namespace

Tensor elu_plus_one(const Tensor& x) {
  check_features("elu_plus_one", x);
  return element_by_element(x, x, [](float value, float) { return value > 0 ? value + 1 : std::exp(value); });
}

Tensor elu_plus_one_gradient(const Tensor& x, const Tensor& d_features) {
  check_features("elu_plus_one_gradient", x);
  check_like("elu_plus_one_gradient", "d_features", d_features, x.shape());
  return element_by_element(x, d_features, [](float value, float d) { return value > 0 ? d : std::exp(value) * d; });
}

Tensor orthogonal_projection(int64_t features, int64_t d, uint64_t seed) {
  if (features < 1 || d < 1) fail(ErrorCode::kInvalidArgument, "orthogonal_projection: {} features of {}; expected 1 or more", features, d);
  Tensor out = Tensor::empty({features, d});
  float* to = out.mutable_data<float>();
  std::vector<std::vector<double>> block;  // orthonormal so far
  uint64_t counter = 0;
  for (int64_t r = 0; r < features; ++r) {
    if (r % d == 0) block.clear();
    std::vector<double> row(static_cast<size_t>(d));
    double length = 0, left = 0;
    for (double& x : row) x = random_normal(seed, counter++);
    for (int64_t c = 0; c < d; ++c)
      length += std::pow(random_normal(seed, counter++), 2);  // of another draw: direction and length are independent
    for (int twice = 0; twice < 2; ++twice) {                 // Gram-Schmidt, again for what rounding left
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
  const Projection by("positive_random_features", x, projection);
  Tensor out = Tensor::empty({x.size(0), x.size(1), x.size(2), by.m});
  if (out.numel() == 0) return out;
  float* to = out.mutable_data<float>();
  const int64_t rows = out.numel() / by.m, length = x.size(2);
  std::vector<float> largest(static_cast<size_t>(rows));
  parallel_for(rows,
               [&](int64_t row, int) { largest[static_cast<size_t>(row)] = exponents(by, row_at(x, row), x.stride(3), to + row * by.m); });
  if (shift == FeatureShift::kNone) std::fill(largest.begin(), largest.end(), 0.0F);
  for (int64_t first = 0; shift == FeatureShift::kAllRows && first < rows; first += length) {
    const auto begin = largest.begin() + first;
    std::fill(begin, begin + length, *std::max_element(begin, begin + length));
  }
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(by.m)));
  parallel_for(rows, [&](int64_t row, int) {
    const float c = shift_of(largest[static_cast<size_t>(row)]);
    for (float* value = to + row * by.m; value < to + (row + 1) * by.m; ++value) *value = std::exp(*value - c) * scale;
  });
  return out;
}

Tensor positive_random_features_gradient(const Tensor& x, const Tensor& projection, const Tensor& features, const Tensor& d_features) {
  constexpr const char* kWhat = "positive_random_features_gradient";
  const Projection by(kWhat, x, projection);
  const Shape shape{x.size(0), x.size(1), x.size(2), by.m};
  check_like(kWhat, "features", features, shape);
  check_like(kWhat, "d_features", d_features, shape);
  const Tensor product = element_by_element(features, d_features, [](float value, float d) { return value * d; });
  Tensor out = Tensor::empty(x.shape());
  if (out.numel() == 0) return out;
  float* to = out.mutable_data<float>();
  parallel_for(out.numel() / by.d, [&](int64_t row, int) {
    const float *weights = product.data<float>() + row * by.m, *from = row_at(x, row);
    double sum = 0;
    for (int64_t r = 0; r < by.m; ++r) sum += static_cast<double>(weights[r]);
    for (int64_t c = 0; c < by.d; ++c) {
      const float* w = by.turned.data() + c * by.m;
      double along = 0;
      for (int64_t r = 0; r < by.m; ++r) along += static_cast<double>(weights[r]) * static_cast<double>(w[r]);
      const double y = static_cast<double>(from[c * x.stride(3)] * by.shrink);
      to[row * by.d + c] = static_cast<float>((along - sum * y) * static_cast<double>(by.shrink));
    }
  });
  return out;
}

}  // namespace clearhead
