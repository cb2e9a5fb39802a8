// Code shared by the pages of the cookbook (mechanisms_scores.cc, _topology.cc, _weights.cc, _keys.cc): input numbers, a row of the map,
// and one line of output per mechanism with its name and what was checked. A page exits with 1 if a check fails.
#pragma once

#include <clearhead/clearhead.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace ch = clearhead;

// Arbitrary numbers between −1 and 1, the same in every run.
inline ch::Tensor any(uint32_t seed, ch::Shape shape) {
  std::mt19937 random(seed);
  ch::Tensor out = ch::Tensor::empty(std::move(shape));
  for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data<float>()[i] = static_cast<float>(random()) * 0x1p-31F - 1;
  return out;
}

// q, k and v of one sequence: [1, heads, length, 8].
struct Tokens {
  int64_t length = 12, heads = 1;
  ch::Tensor q = any(1, {1, heads, length, 8}), k = any(2, {1, heads, length, 8}), v = any(3, {1, heads, length, 8});
};

// Row i and channel c of the first head of any [.., row, channel].
inline double at(const ch::Tensor& t, int64_t i, int64_t c) {
  return static_cast<double>(t.data<float>()[i * t.stride(-2) + c * t.stride(-1)]);
}
inline double dot(const ch::Tensor& a, int64_t i, const ch::Tensor& b, int64_t j) {
  double sum = 0;
  for (int64_t c = 0; c < a.size(-1); ++c) sum += at(a, i, c) * at(b, j, c);
  return sum;
}

// An exact row of the first head: its scores after all terms, and its weights.
inline std::vector<double> scores(const ch::Attended& done, int64_t i) {
  const ch::MapRow row = ch::AttentionMap(done.record).head(0, 0).row(i);
  return {row.scores().begin(), row.scores().end()};
}
inline std::vector<double> weights(const ch::Attended& done, int64_t i, int64_t head = 0) {
  const ch::MapRow row = ch::AttentionMap(done.record).head(0, head).row(i);
  return {row.weights().begin(), row.weights().end()};
}
inline double sum(const std::vector<double>& row) {
  double total = 0;
  for (const double x : row) total += x;
  return total;
}

// The largest difference between a row and a formula of key j.
inline double off(const std::vector<double>& row, const std::function<double(int64_t j)>& formula) {
  double farthest = 0;
  for (size_t j = 0; j < row.size(); ++j) farthest = std::max(farthest, std::abs(row[j] - formula(static_cast<int64_t>(j))));
  return farthest;
}
inline bool near(double a, double b, double tolerance = 2e-6) { return std::abs(a - b) <= tolerance; }

// The largest ∂L/∂θ of an operand by the engine, and (L(θ + h) − L(θ − h)) / 2h, for the loss L = Σ out·w with arbitrary numbers w.
struct Slope {
  double engine = 0, differences = 0;
  bool agrees() const { return engine != 0 && std::abs(engine - differences) < 1e-4 + 2e-3 * std::abs(engine); }
};
inline Slope slope_of(const std::string& operand, const Tokens& x, ch::AttentionSpec spec) {
  const ch::Attended done = ch::attend(x.q, x.k, x.v, spec);
  const ch::Tensor w = any(99, done.out.shape());
  const ch::AttendGradients gradients = ch::attend_gradients(done.record, x.v, done.out, w);
  ch::Tensor* parameter = nullptr;
  size_t place = 0, found = 0;
  ch::for_each_operand(spec, [&](const std::string& name, ch::Tensor& tensor) {
    if (name == operand) parameter = &tensor, found = place;
    ++place;
  });
  const float* slopes = gradients.operands[found].data<float>();
  const int64_t largest =
      std::max_element(slopes, slopes + parameter->numel(), [](float a, float b) { return std::abs(a) < std::abs(b); }) - slopes;
  const auto loss_with = [&](float step) {
    const ch::Tensor before = *parameter;
    *parameter = before.clone();
    parameter->mutable_data<float>()[largest] += step;
    const ch::Tensor out = ch::attend(x.q, x.k, x.v, spec).out;
    *parameter = before;
    double loss = 0;
    for (int64_t i = 0; i < out.numel(); ++i) loss += static_cast<double>(out.data<float>()[i]) * static_cast<double>(w.data<float>()[i]);
    return loss;
  };
  return {static_cast<double>(slopes[largest]), (loss_with(0x1p-8F) - loss_with(-0x1p-8F)) / 0x1p-7};
}

inline int untrue = 0;  // number of failed checks

// Prints one line. `holds`: whether the check succeeded.
[[gnu::format(printf, 3, 4)]] inline void show(const char* mechanism, bool holds, const char* seen, ...) {
  std::printf("  %-30s", mechanism);
  va_list values;
  va_start(values, seen);
  std::vprintf(seen, values);
  va_end(values);
  std::printf(holds ? "\n" : "   << NOT SO\n");
  untrue += !holds;
}
inline int verdict() {
  if (untrue > 0) std::printf("%d not as they should be\n", untrue);
  return untrue > 0 ? 1 : 0;
}
