// Resizes pictures by filters over the pixels of the source, one axis after the other.
//
//   out_i = Σ_j w_ij in_j      w_ij = f((j + ½ − c_i) / s) / Σ_j f(…)      c_i = (i + ½)·n/m      s = max(1, n/m)
//
// n and m are the numbers of pixels of the axis before and after.
// f is a triangle of half-width 1 (bilinear) or a box of half-width ½. The filter widens with the scale, which averages away the
// frequencies that the smaller picture cannot show (antialiasing). The result equals that of PIL's Image.resize in mode "F".
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/format.h"
#include "clearhead/data.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

// The source pixels that one result pixel reads, from `first` on.
struct Taps {
  int64_t first = 0;
  std::vector<double> weights{};
};

std::vector<Taps> taps_of(int64_t from, int64_t to, Resampling how) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = std::max(1.0, scale);
  const double support = (how == Resampling::kBox ? 0.5 : 1.0) * stretch;
  std::vector<Taps> out(static_cast<size_t>(to));
  for (int64_t at = 0; at < to; ++at) {
    Taps& taps = out[static_cast<size_t>(at)];
    const double centre = (static_cast<double>(at) + 0.5) * scale;
    taps.first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - support + 0.5)));
    const int64_t end = std::min(from, static_cast<int64_t>(std::floor(centre + support + 0.5)));
    double sum = 0;
    for (int64_t pixel = taps.first; pixel < end; ++pixel) {
      const double x = (static_cast<double>(pixel) + 0.5 - centre) / stretch;
      const double weight = how == Resampling::kBox ? (x > -0.5 && x <= 0.5 ? 1.0 : 0.0) : std::max(0.0, 1 - std::abs(x));
      taps.weights.push_back(weight);
      sum += weight;
    }
    for (double& weight : taps.weights) weight /= sum;
  }
  return out;
}

// Resizes the middle axis of [outer, from, inner].
Tensor resize_axis(const Tensor& image, int64_t outer, int64_t from, int64_t inner, const std::vector<Taps>& taps) {
  const auto to = static_cast<int64_t>(taps.size());
  Tensor out = Tensor::empty({outer, to, inner});
  float* result = out.mutable_data<float>();
  for (int64_t at = 0; at < outer; ++at) {
    for (const Taps& one : taps) {
      for (int64_t column = 0; column < inner; ++column) {
        const float* pixel = image.data<float>() + (at * from + one.first) * inner + column;
        double sum = 0;
        for (const double weight : one.weights) {
          sum += weight * static_cast<double>(*pixel);
          pixel += inner;
        }
        *result++ = static_cast<float>(sum);
      }
    }
  }
  return out;
}

void check(const Tensor& image, int64_t height, int64_t width) {
  if (image.rank() == 3 && image.dtype() == DType::kF32 && image.numel() > 0 && height > 0 && width > 0) return;
  fail(ErrorCode::kInvalidArgument,
       "resizing {} to {} x {}: expected a non-empty f32 picture [channels, height, width], and a height and width of 1 pixel or more",
       to_string(image.shape()), height, width);
}

}  // namespace

Tensor resize_image(const Tensor& image, int64_t height, int64_t width, Resampling how) {
  check(image, height, width);
  const int64_t channels = image.size(0), rows = image.size(1), columns = image.size(2);
  const Tensor wide = resize_axis(image.contiguous(), channels * rows, columns, 1, taps_of(columns, width, how));
  return resize_axis(wide, channels, rows, width, taps_of(rows, height, how)).reshape({channels, height, width});
}

Tensor fit_image(const Tensor& image, int64_t height, int64_t width, Resampling how) {
  check(image, height, width);
  const int64_t channels = image.size(0);
  const auto rows = static_cast<double>(image.size(1)), columns = static_cast<double>(image.size(2));
  const double scale = std::min(static_cast<double>(height) / rows, static_cast<double>(width) / columns);
  const auto side = [&](double of) { return std::max<int64_t>(1, std::llrint(of * scale)); };
  const Tensor inner = resize_image(image, side(rows), side(columns), how);
  const int64_t top = std::llrint(static_cast<double>(height - inner.size(1)) / 2),
                left = std::llrint(static_cast<double>(width - inner.size(2)) / 2);
  Tensor out = Tensor::zeros({channels, height, width});
  const float* from = inner.data<float>();
  for (int64_t row = 0; row < channels * inner.size(1); ++row) {
    const int64_t channel = row / inner.size(1), line = channel * height + top + row % inner.size(1);
    std::copy_n(from + row * inner.size(2), inner.size(2), out.mutable_data<float>() + line * width + left);
  }
  return out;
}

}  // namespace clearhead
