// Log-probabilities of words that are generated or copied:
//
//   out_w = ln m_w,  m_w = p·s_w + (1 − p)·c_w,  s = softmax(logits), p = σ(gate)
//
// Computed as ln(e^(ln p + ln s_w) + e^(ln (1 − p) + ln c_w)), so that no probability is too small for f32. In the backward
// pass, with the gradient d_w of out_w, the generated share r_w = p·s_w / m_w, and R = Σ_w d_w·r_w:
//   d_logits_w = d_w·r_w − s_w·R      d_gate = R − p·Σ_w d_w      d_c_w = d_w·(1 − p) / m_w
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

// ln σ(x)
float log_sigmoid(float x) { return std::min(x, 0.0F) - std::log1p(std::exp(-std::abs(x))); }

// One row; column c of `copied` belongs to tokens[c].
struct Mixed {
  const float* logits;
  const float* copied;
  const int32_t* tokens;
  int64_t vocabulary, columns;
  float log_sum;        // ln Σ e^logits
  float written, kept;  // ln p, ln (1 − p)
};

Mixed row_of(const Tensor& logits, const Tensor& gate, const Tensor& copied, const std::vector<int32_t>& tokens, int64_t row) {
  const int64_t vocabulary = logits.size(1), columns = copied.size(1);
  const int64_t each = logits.size(0) * columns / static_cast<int64_t>(tokens.size());  // rows per sequence
  const float* x = logits.data<float>() + row * vocabulary;
  const float g = gate.data<float>()[row];
  return {x,
          copied.data<float>() + row * columns,
          tokens.data() + row / each * columns,
          vocabulary,
          columns,
          static_cast<float>(log_sum_exp(x, vocabulary)),
          log_sigmoid(g),
          log_sigmoid(-g)};
}

template <class Column>
void for_each_copied(const Mixed& row, const Column& column) {
  for (int64_t c = 0; c < row.columns; ++c) {
    if (row.tokens[c] >= 0) column(c, row.tokens[c]);
  }
}

void mix(const Mixed& row, float* out) {
  for (int64_t w = 0; w < row.vocabulary; ++w) out[w] = row.written + row.logits[w] - row.log_sum;
  for_each_copied(row, [&](int64_t c, int32_t w) {
    if (!(row.copied[c] > 0)) return;
    const float copied = row.kept + std::log(row.copied[c]), larger = std::max(out[w], copied);
    out[w] = larger + std::log1p(std::exp(std::min(out[w], copied) - larger));
  });
}

// Fills d_logits and the columns of d_copied that have a token; returns d_gate.   out: the result of mix()
float go_back(const Mixed& row, const float* out, const float* d_out, float* d_logits, float* d_copied) {
  std::copy(d_out, d_out + row.vocabulary, d_logits);
  for_each_copied(row, [&](int64_t c, int32_t w) {
    d_logits[w] *= std::exp(row.written + row.logits[w] - row.log_sum - out[w]);
    d_copied[c] = d_out[w] * std::exp(row.kept - out[w]);
  });
  double all = 0, of_written = 0;
  for (int64_t w = 0; w < row.vocabulary; ++w) {
    all += static_cast<double>(d_out[w]);
    of_written += static_cast<double>(d_logits[w]);
  }
  for (int64_t w = 0; w < row.vocabulary; ++w) d_logits[w] -= std::exp(row.logits[w] - row.log_sum) * static_cast<float>(of_written);
  return static_cast<float>(of_written - std::exp(static_cast<double>(row.written)) * all);
}

void check(const Tensor& logits, const Tensor& gate, const Tensor& copied, const std::vector<int32_t>& tokens, const Tensor& out) {
  const bool fits = logits.rank() == 2 && gate.shape() == Shape{logits.size(0), 1} && copied.rank() == 2 &&
                    copied.size(0) == logits.size(0) && logits.size(1) > 0 && copied.size(1) > 0 && out.shape() == logits.shape() &&
                    logits.is_contiguous() && gate.is_contiguous() && copied.is_contiguous() && out.is_contiguous();
  const int64_t count = static_cast<int64_t>(tokens.size());
  if (!fits || count == 0 || count % copied.size(1) != 0 || logits.size(0) % (count / copied.size(1)) != 0) {
    fail(ErrorCode::kShape,
         "pointer_mixture: logits are {}, the gate {}, copied {}, {} tokens; expected contiguous [rows, vocabulary], [rows, 1], [rows, "
         "columns] and the columns' tokens of each sequence",
         to_string(logits.shape()), to_string(gate.shape()), to_string(copied.shape()), count);
  }
  for (const int32_t token : tokens) {
    if (token >= logits.size(1)) {
      fail(ErrorCode::kInvalidArgument,
           "pointer_mixture: token {}; expected a token id in [0, {}), or a negative number for an unused column", token, logits.size(1));
    }
  }
}

}  // namespace

void pointer_mixture(Run& run, const Tensor& logits, const Tensor& gate, const Tensor& copied, const std::vector<int32_t>& tokens,
                     Tensor& out) {
  check(logits, gate, copied, tokens, out);
  const int64_t rows = logits.size(0), vocabulary = logits.size(1), columns = copied.size(1);
  float* to = out.mutable_data<float>();
  parallel_ranges(rows, grain_of(vocabulary), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) mix(row_of(logits, gate, copied, tokens, row), to + row * vocabulary);
  });
  if (!run.records({&logits, &gate, &copied})) return;
  run.recorder->record("pointer_mixture", out, {logits, gate, copied, out}, [=, tokens = tokens](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Tensor d_logits = Tensor::empty(logits.shape()), d_gate = Tensor::empty(gate.shape()), d_copied = Tensor::zeros(copied.shape());
    float *of_logits = d_logits.mutable_data<float>(), *of_gate = d_gate.mutable_data<float>(), *of_copied = d_copied.mutable_data<float>();
    parallel_ranges(rows, grain_of(vocabulary), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const Mixed mixed = row_of(logits, gate, copied, tokens, row);
        of_gate[row] = go_back(mixed, out.data<float>() + row * vocabulary, d_out.data<float>() + row * vocabulary,
                               of_logits + row * vocabulary, of_copied + row * columns);
      }
    });
    for (const auto& [x, gradient] : {std::pair{logits, d_logits}, {gate, d_gate}, {copied, d_copied}}) {
      if (!gradients.wants(x)) continue;
      Gradients::Place place = gradients.place(x);
      add_strided(gradient, place.gradient, place.accumulate);
    }
  });
}

}  // namespace clearhead::ops
