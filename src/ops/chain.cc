// For one query, with the keys 0 … n − 1 and z = 0, 1:
//
//   f_0(z) = 0        f_{j+1}(z') = ln Σ_z exp(f_j(z) + s_j·z + t[z, z'])            messages from the keys before
//   b_{n−1}(z) = 0    b_j(z) = ln Σ_z' exp(t[z, z'] + s_{j+1}·z' + b_{j+1}(z'))      messages from the keys after
//   ln Z = ln Σ_z exp(f_{n−1}(z) + s_{n−1}·z)        out_j = f_j(1) + b_j(1) − ln Z
//
// The backward pass goes through the same recursions in reverse: each sum of exponentials divides the gradient of its result among its
// terms in proportion to them.
#include "ops/chain.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"

namespace clearhead::ops {
namespace {

using Pair = std::array<double, 2>;
using Transitions = std::array<Pair, 2>;

double log_sum(double a, double b) {
  const double larger = std::max(a, b);
  return larger + std::log1p(std::exp(std::min(a, b) - larger));
}

// The messages of one query.
struct Messages {
  std::vector<Pair> before, after;  // f and b
  double log_partition = 0;         // ln Z
};

// s_j·z
double unary(const float* scores, int64_t key, size_t z) { return z == 1 ? static_cast<double>(scores[key]) : 0; }

Messages messages_of(const float* scores, int64_t keys, const Transitions& t) {
  Messages out{std::vector<Pair>(static_cast<size_t>(keys)), std::vector<Pair>(static_cast<size_t>(keys))};
  for (int64_t key = 0; key + 1 < keys; ++key) {
    const Pair& from = out.before[static_cast<size_t>(key)];
    Pair& to = out.before[static_cast<size_t>(key + 1)];
    for (size_t z = 0; z < 2; ++z) to[z] = log_sum(from[0] + t[0][z], from[1] + unary(scores, key, 1) + t[1][z]);
  }
  for (int64_t key = keys - 2; key >= 0; --key) {
    const Pair& from = out.after[static_cast<size_t>(key + 1)];
    Pair& to = out.after[static_cast<size_t>(key)];
    for (size_t z = 0; z < 2; ++z) to[z] = log_sum(t[z][0] + from[0], t[z][1] + unary(scores, key + 1, 1) + from[1]);
  }
  out.log_partition = log_sum(out.before.back()[0], out.before.back()[1] + unary(scores, keys - 1, 1));
  return out;
}

// Adds the gradients of one query's scores to d_scores, and those of the transitions to d_transitions.
void go_back(const float* scores, int64_t keys, const Transitions& t, const float* d_out, double* d_scores, Transitions& d_transitions) {
  const Messages messages = messages_of(scores, keys, t);
  std::vector<Pair> d_before(static_cast<size_t>(keys)), d_after(static_cast<size_t>(keys));
  double d_partition = 0;
  for (int64_t key = 0; key < keys; ++key) {
    d_before[static_cast<size_t>(key)][1] = d_after[static_cast<size_t>(key)][1] = static_cast<double>(d_out[key]);
    d_partition -= static_cast<double>(d_out[key]);
  }
  for (int64_t key = 0; key + 1 < keys; ++key) {
    const auto here = static_cast<size_t>(key), next = here + 1;
    for (size_t z = 0; z < 2; ++z) {
      for (size_t to = 0; to < 2; ++to) {
        const double exponent = t[z][to] + unary(scores, key + 1, to) + messages.after[next][to] - messages.after[here][z];
        const double share = d_after[here][z] * std::exp(exponent);
        d_after[next][to] += share;
        d_transitions[z][to] += share;
        if (to == 1) d_scores[key + 1] += share;
      }
    }
  }
  const size_t last = static_cast<size_t>(keys) - 1;
  for (size_t z = 0; z < 2; ++z) {
    const double share = d_partition * std::exp(messages.before[last][z] + unary(scores, keys - 1, z) - messages.log_partition);
    d_before[last][z] += share;
    if (z == 1) d_scores[last] += share;
  }
  for (int64_t key = keys - 2; key >= 0; --key) {
    const auto here = static_cast<size_t>(key), next = here + 1;
    for (size_t z = 0; z < 2; ++z) {
      for (size_t to = 0; to < 2; ++to) {
        const double exponent = messages.before[here][z] + unary(scores, key, z) + t[z][to] - messages.before[next][to];
        const double share = d_before[next][to] * std::exp(exponent);
        d_before[here][z] += share;
        d_transitions[z][to] += share;
        if (z == 1) d_scores[key] += share;
      }
    }
  }
}

void check(const Tensor& scores, const Tensor& transitions, const std::vector<int32_t>& lengths, const Tensor& out) {
  const bool fits = scores.rank() == 4 && scores.numel() > 0 && transitions.shape() == Shape{2, 2} && out.shape() == scores.shape() &&
                    scores.is_contiguous() && transitions.is_contiguous() && out.is_contiguous() &&
                    (lengths.empty() || static_cast<int64_t>(lengths.size()) == scores.size(0));
  if (!fits) {
    fail(ErrorCode::kShape,
         "chain_bias: the scores are {}, the transitions {}, {} lengths; expected contiguous [batch, head, query, key] and [2, 2], and one "
         "length for each sequence or none",
         to_string(scores.shape()), to_string(transitions.shape()), lengths.size());
  }
  for (const int32_t length : lengths) {
    if (length < 1 || length > scores.size(3))
      fail(ErrorCode::kInvalidArgument, "chain_bias: a sequence of {} keys; expected 1 to {}", length, scores.size(3));
  }
}

Transitions transitions_of(const Tensor& transitions) {
  const float* from = transitions.data<float>();
  Transitions out;
  for (size_t i = 0; i < 4; ++i) out[i / 2][i % 2] = static_cast<double>(from[i]);
  return out;
}

}  // namespace

void chain_bias(Run& run, const Tensor& scores, const Tensor& transitions, const std::vector<int32_t>& lengths, Tensor& out) {
  check(scores, transitions, lengths, out);
  const int64_t keys = scores.size(3), rows = scores.numel() / keys, rows_each = rows / scores.size(0);
  const auto length_of = [=](int64_t row) {
    return lengths.empty() ? keys : static_cast<int64_t>(lengths[static_cast<size_t>(row / rows_each)]);
  };
  const Transitions t = transitions_of(transitions);
  float* to = out.mutable_data<float>();
  parallel_ranges(rows, grain_of(16 * keys), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t length = length_of(row);
      const Messages messages = messages_of(scores.data<float>() + row * keys, length, t);
      for (int64_t key = 0; key < length; ++key) {
        const auto at = static_cast<size_t>(key);
        to[row * keys + key] = static_cast<float>(messages.before[at][1] + messages.after[at][1] - messages.log_partition);
      }
      std::fill(to + row * keys + length, to + (row + 1) * keys, 0.0F);
    }
  });
  if (!run.records({&scores, &transitions})) return;
  run.recorder->record("chain_bias", out, {scores, transitions}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Tensor d_scores = Tensor::zeros(scores.shape()), d_transitions = Tensor::zeros({2, 2});
    std::vector<Transitions> of_rows(
        static_cast<size_t>(rows));  // summed in the order of rows, for the same bits with any number of threads
    float* of_scores = d_scores.mutable_data<float>();
    const Transitions now = transitions_of(transitions);
    parallel_ranges(rows, grain_of(32 * keys), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        std::vector<double> of_row(static_cast<size_t>(keys));
        go_back(scores.data<float>() + row * keys, length_of(row), now, d_out.data<float>() + row * keys, of_row.data(),
                of_rows[static_cast<size_t>(row)]);
        std::copy(of_row.begin(), of_row.end(), of_scores + row * keys);
      }
    });
    Transitions sum{};
    for (const Transitions& one : of_rows) {
      for (size_t i = 0; i < 4; ++i) sum[i / 2][i % 2] += one[i / 2][i % 2];
    }
    for (size_t i = 0; i < 4; ++i) d_transitions.mutable_data<float>()[i] = static_cast<float>(sum[i / 2][i % 2]);
    for (const auto& [x, gradient] : {std::pair{scores, d_scores}, {transitions, d_transitions}}) {
      if (!gradients.wants(x)) continue;
      Gradients::Place place = gradients.place(x);
      add_strided(gradient, place.gradient, place.accumulate);
    }
  });
}

}  // namespace clearhead::ops
