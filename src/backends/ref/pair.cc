#include "backends/ref/pair.h"

#include <cmath>

#include "spec/pair.h"
#include "spec/visible.h"

namespace clearhead::reference {
namespace {

Vector query_vector(const RowOfScores& at) {
  const int64_t first = at.batch * at.q.stride(0) + at.head * at.q.stride(1) + at.row * at.q.stride(2);
  return {at.q.raw() + first * static_cast<int64_t>(size_of(at.q.dtype())), at.q.stride(3), at.q.dtype()};
}

// Row-major index of channel c in an operand [head|1, d_k].
int64_t channel_index(const Tensor& operand, int64_t head, int64_t c) { return (operand.size(0) == 1 ? 0 : head) * operand.size(1) + c; }
double channel_of(const Tensor& operand, int64_t head, int64_t c) {
  return static_cast<double>(operand.data<float>()[broadcast_stride(operand, 0) * head + c * operand.stride(1)]);
}

// φ and its slope.
Sum activation(const Additive& pair, double x) {
  if (pair.activation == Additive::Activation::kTanh) {
    const double secant = 1 / std::cosh(x);  // 1 − tanh² would cancel
    return {std::tanh(x), secant * secant};
  }
  return x > 0 ? Sum{x, 1} : Sum{static_cast<double>(pair.slope) * x, static_cast<double>(pair.slope)};
}

struct ScorePair {
  const RowOfScores& at;
  Vector query, key;
  int64_t width;

  Sum operator()(const Dot&) const {
    const double scale = scale_of(at.spec.pair, width);
    Sum out;
    for (int64_t c = 0; c < width; ++c) {
      const double product = query[c] * key[c];
      out.add(product, std::abs(product));
    }
    return {scale * out.value, std::abs(scale) * out.size};
  }
  Sum operator()(const Additive& pair) const {
    Sum out;
    for (int64_t c = 0; c < width; ++c) {
      const double part = channel_of(pair.weight, at.head, c) * activation(pair, query[c] + key[c]).value;
      out.add(part, std::abs(part));
    }
    return out;
  }
};

struct ReversePair {
  const RowOfScores& at;
  Vector query, key;
  int64_t width;
  const Sum& d_score;
  Sum *d_q, *d_k;
  OperandSums& operands;

  void operator()(const Dot&) const {
    const double scale = scale_of(at.spec.pair, width);
    for (int64_t c = 0; c < width; ++c) {
      add(d_q[c], scale * key[c]);
      add(d_k[c], scale * query[c]);
    }
  }
  void operator()(const Additive& pair) const {
    for (int64_t c = 0; c < width; ++c) {
      const double weight = channel_of(pair.weight, at.head, c);
      const auto [value, slope] = activation(pair, query[c] + key[c]);
      add(d_q[c], weight * slope);
      add(d_k[c], weight * slope);
      add(operands.at(pair.weight, channel_index(pair.weight, at.head, c)), value);
    }
  }
  void add(Sum& to, double slope) const { to.add(d_score.value * slope, d_score.size * std::abs(slope)); }
};

Vector key_of(const RowOfScores& at, int64_t key) { return key_vector(at.keys, at.batch, key_head_of(at), key); }

}  // namespace

Sum score_pair(const RowOfScores& at, int64_t key) {
  return std::visit(ScorePair{at, query_vector(at), key_of(at, key), at.q.size(3)}, at.spec.pair);
}

void reverse_pair(const RowOfScores& at, int64_t key, const Sum& d_score, Sum* d_q, Sum* d_k, OperandSums& operands) {
  std::visit(ReversePair{at, query_vector(at), key_of(at, key), at.q.size(3), d_score, d_q, d_k, operands}, at.spec.pair);
}

}  // namespace clearhead::reference
