// The three score functions: the score with its size, its gradients with respect to q, k and the operands, and the
// value offsets of a relative score.
#include "backends/ref/score_function.h"

#include <cmath>

#include "spec/score_function.h"
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

// row_of: the index δ of a row in a table [head|1, offset, width]. table_row: that row.
int64_t row_of(const RowOfScores& at, const Relative& pair, int64_t key) { return offset_row(key, position_of(at), reach_of(pair)); }
Vector table_row(const Tensor& table, int64_t head, int64_t row) {
  return {reinterpret_cast<const std::byte*>(table.data<float>() + head * broadcast_stride(table, 0) + row * table.stride(1)),
          table.stride(2)};
}
int64_t table_index(const Tensor& table, int64_t head, int64_t row, int64_t c) {
  return ((table.size(0) == 1 ? 0 : head) * table.size(1) + row) * table.size(2) + c;
}

// φ and its derivative.
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
  int64_t width, j;

  Sum operator()(const Dot&) const {
    const double scale = scale_of(at.spec.score, width);
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
  Sum operator()(const Relative& pair) const {
    const double scale = scale_of(at.spec.score, width);
    const int64_t row = row_of(at, pair, j);
    const Vector a = table_row(pair.keys, at.head, row);
    Sum out;
    for (int64_t c = 0; c < width; ++c) {
      const double q = query[c], k = key[c], u = pair.query_bias ? channel_of(*pair.query_bias, at.head, c) : 0;
      const double b = pair.queries ? table_row(*pair.queries, at.head, row)[c] : 0;
      out.add(q * k + (q + u) * a[c] + k * b, std::abs(q * k) + (std::abs(q) + std::abs(u)) * std::abs(a[c]) + std::abs(k * b));
    }
    return {scale * out.value, std::abs(scale) * out.size};
  }
};

struct ReversePair {
  const RowOfScores& at;
  Vector query, key;
  int64_t width, j;
  const Sum& d_score;
  Sum *d_q, *d_k;
  OperandSums& operands;

  void operator()(const Dot&) const {
    const double scale = scale_of(at.spec.score, width);
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
  void operator()(const Relative& pair) const {
    const double scale = scale_of(at.spec.score, width);
    const int64_t row = row_of(at, pair, j);
    const Vector a = table_row(pair.keys, at.head, row);
    for (int64_t c = 0; c < width; ++c) {
      const double q = query[c], k = key[c], u = pair.query_bias ? channel_of(*pair.query_bias, at.head, c) : 0;
      add(d_q[c], scale * k);
      add(d_q[c], scale * a[c]);
      add(d_k[c], scale * q);
      add(operands.at(pair.keys, table_index(pair.keys, at.head, row, c)), scale * q);
      add(operands.at(pair.keys, table_index(pair.keys, at.head, row, c)), scale * u);
      if (pair.query_bias) add(operands.at(*pair.query_bias, channel_index(*pair.query_bias, at.head, c)), scale * a[c]);
      if (!pair.queries) continue;
      add(d_k[c], scale * table_row(*pair.queries, at.head, row)[c]);
      add(operands.at(*pair.queries, table_index(*pair.queries, at.head, row, c)), scale * k);
    }
  }
  void add(Sum& to, double slope) const { to.add(d_score.value * slope, d_score.size * std::abs(slope)); }
};

Vector key_of(const RowOfScores& at, int64_t key) { return key_vector(at.keys, at.batch, key_head_of(at), key); }

}  // namespace

Sum score_function(const RowOfScores& at, int64_t key) {
  return std::visit(ScorePair{at, query_vector(at), key_of(at, key), at.q.size(3), key}, at.spec.score);
}

void reverse_score_function(const RowOfScores& at, int64_t key, const Sum& d_score, Sum* d_q, Sum* d_k, OperandSums& operands) {
  std::visit(ReversePair{at, query_vector(at), key_of(at, key), at.q.size(3), key, d_score, d_q, d_k, operands}, at.spec.score);
}

Vector value_offset(const RowOfScores& at, int64_t key) {
  const Relative* pair = std::get_if<Relative>(&at.spec.score);
  if (!pair || !pair->values) return {};
  return table_row(*pair->values, at.head, row_of(at, *pair, key));
}

void reverse_value_offset(const RowOfScores& at, int64_t key, const Sum& weight, const Vector& d_out, OperandSums& operands) {
  const Relative* pair = std::get_if<Relative>(&at.spec.score);
  if (!pair || !pair->values) return;
  for (int64_t c = 0; c < pair->values->size(2); ++c) {
    const double upstream = d_out[c];
    operands.at(*pair->values, table_index(*pair->values, at.head, row_of(at, *pair, key), c))
        .add(weight.value * upstream, weight.size * std::abs(upstream));
  }
}

}  // namespace clearhead::reference
