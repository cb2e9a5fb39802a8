// Backward pass, row by row: recomputes the weights, computes dA = dO·vᵀ (after.h), and propagates it back through the
// factors after normalisation, the normaliser, the terms and the score function. All sums are in double and carry their sizes.
#include "backends/ref/backward.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/ref/after.h"
#include "backends/ref/normalise.h"
#include "backends/ref/score_function.h"
#include "backends/widen.h"

namespace clearhead::reference {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

const float* row_of(const Tensor& tensor, int64_t batch, int64_t head, int64_t row) {
  return tensor.data<float>() + batch * tensor.stride(0) + head * tensor.stride(1) + row * tensor.stride(2);
}

class Backward {
 public:
  Backward(const AttentionRecord& record, const Tensor& v, const Tensor& d_out, const Tensor& d_log_sum_exp, bool exact, Gradients& to)
      : record_(record),
        v_(v),
        d_out_(d_out),
        d_log_sum_exp_(d_log_sum_exp),
        exact_(exact),
        to_(to),
        keys_(key_length(record.keys)),
        d_k_(record.q.size(3)),
        d_v_(v.size(3)) {}

  void take_row(int64_t batch, int64_t head, int64_t query) {
    const int64_t heads = record_.q.size(1), key_heads = key_heads_of(), key_head = head / (heads / key_heads);
    const RowOfScores at{record_.spec, record_.q, record_.keys, batch, head, query, query, record_.query_length};
    std::vector<double> scores(static_cast<size_t>(keys_)), sizes(static_cast<size_t>(keys_));
    score_row(at, {0, keys_}, scores.data(), sizes.data());
    for (const double size : sizes) to_.largest = std::max(to_.largest, size);
    const RowWeights row = exact_ ? normalise(at, scores) : weights_of(record_, batch, head, query, scores);
    if (!row.sees_any) return;
    const float* d_out = row_of(d_out_, batch, head, query);
    std::vector<Sum> d_weights(static_cast<size_t>(keys_));
    const bool skips = leaves_zeros_out(record_.spec.normaliser) && !has_gradients_of_zeros(record_.spec.normaliser);
    for (int64_t j = 0; j < keys_; ++j) {
      const double weight = row.weights[static_cast<size_t>(j)], size = size_of_weight(record_.spec.normaliser, row, weight);
      if (scores[static_cast<size_t>(j)] == kHidden || (weight == 0 && skips)) continue;
      Sum& d_weight = d_weights[static_cast<size_t>(j)];
      const double after = after_of(at, j);
      const Vector value = value_vector(record_.keys, v_, batch, key_head, j), offset = value_offset(at, j);
      Sum* d_value = to_.v.data() + ((batch * key_heads + key_head) * keys_ + j) * d_v_;
      for (int64_t c = 0; c < d_v_; ++c) {
        const double upstream = static_cast<double>(d_out[c * d_out_.stride(3)]);
        const double product = upstream * value[c];
        const double beside = offset.first ? upstream * offset[c] : 0;
        d_weight.add(product + beside, std::abs(product) + std::abs(beside));
        d_value[c].add(after * weight * upstream, std::abs(after) * size * std::abs(upstream));
      }
      reverse_value_offset(at, j, {after * weight, std::abs(after) * size}, {reinterpret_cast<const std::byte*>(d_out), d_out_.stride(3)},
                           to_.operands);
      d_weight = reverse_after(at, j, weight, size, d_weight, to_.operands);
    }
    Sum mean;
    if (d_log_sum_exp_.defined()) {
      const double given = static_cast<double>(*row_of(d_log_sum_exp_, batch, head, query));
      mean.add(-given, std::abs(given));
    }
    const std::vector<Sum> d_scores = reverse_weights(record_.spec.normaliser, row, scores, d_weights, mean);
    for (int64_t j = 0; j < keys_; ++j) {
      if (scores[static_cast<size_t>(j)] == kHidden) continue;
      add_score_function(at, key_head, j, reverse_terms(at, j, d_scores[static_cast<size_t>(j)], to_.operands));
    }
    const Softmax* softmax = std::get_if<Softmax>(&record_.spec.normaliser);
    if (softmax && softmax->sinks) {
      to_.operands.at(*softmax->sinks, head).add(-row.sink_share * mean.value, row.sink_share * mean.size);
    }
  }

 private:
  int64_t key_heads_of() const { return key_heads(record_.keys); }

  void add_score_function(const RowOfScores& at, int64_t key_head, int64_t key, const Sum& d_score) {
    const int64_t heads = record_.q.size(1);
    Sum* d_q = to_.q.data() + ((at.batch * heads + at.head) * record_.query_length + at.query) * d_k_;
    Sum* d_k = to_.k.data() + ((at.batch * key_heads_of() + key_head) * keys_ + key) * d_k_;
    reverse_score_function(at, key, d_score, d_q, d_k, to_.operands);
  }

  const AttentionRecord& record_;
  const Tensor &v_, &d_out_, &d_log_sum_exp_;
  bool exact_;
  Gradients& to_;
  int64_t keys_, d_k_, d_v_;
};

void write(const std::vector<Sum>& sums, Tensor& to) {
  if (to.numel() == 0) return;
  float* out = to.mutable_data<float>();
  for (size_t i = 0; i < sums.size(); ++i) out[i] = static_cast<float>(sums[i].value);
}

}  // namespace

OperandSums::OperandSums(const AttentionSpec& spec) {
  for_each_operand(spec, [&](const std::string&, const Tensor& operand) {
    places_[&operand] = sums_.size();
    sums_.emplace_back(operand.dtype() == DType::kF32 ? static_cast<size_t>(operand.numel()) : 0);
  });
}

Gradients gradients(const AttentionRecord& record, const Tensor& v, const Tensor& d_out, bool exact, const Tensor& d_log_sum_exp) {
  if (!is_wide(record)) return gradients(widened(record), widened(v), widened(d_out), exact, d_log_sum_exp);
  Gradients out(record.spec);
  out.q.resize(static_cast<size_t>(record.q.numel()));
  out.k.resize(static_cast<size_t>(std::get<Tensor>(record.keys).numel()));
  out.v.resize(static_cast<size_t>(v.numel()));
  Backward backward(record, v, d_out, d_log_sum_exp, exact, out);
  for (int64_t batch = 0; batch < record.q.size(0); ++batch) {
    for (int64_t head = 0; head < record.q.size(1); ++head) {
      for (int64_t query = 0; query < record.query_length; ++query) backward.take_row(batch, head, query);
    }
  }
  return out;
}

void backward(const BackwardCall& call) {
  const Gradients all = gradients(call.record, call.v, call.d_out, /*exact=*/false, call.d_log_sum_exp);
  write(all.q, call.d_q);
  write(all.k, call.d_k);
  write(all.v, call.d_v);
  for (size_t i = 0; i < call.d_operands.size(); ++i) {
    if (call.d_operands[i].defined()) write(all.operands.all()[i], call.d_operands[i]);
  }
}

}  // namespace clearhead::reference
