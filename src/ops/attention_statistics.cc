// Differentiable statistics of attention weights P. Each is an attention call with other values, plus a few numbers per row.
//
//   mean over keys      Σ_j P_ij x_j              values x_j, for example 1 for the keys of a span and 0 for others
//   distance            Σ_j P_ij |p_i − j|        values 0, and a relative score (spec.h) with A = 0 and C[δ] = |δ − reach|
//   entropy             L_i − s·q_i·Σ_j P_ij k_j  values k_j;  follows from ln P_ij = s·q_i·k_j − L_i and Σ_j P_ij = 1
//   ln P of pairs       s·q_i·k_j − L_i           one dot product per pair and head
//
// s is the scale, p_i the position of query i, and L_i the log-sum-exp of row i, a second result of the call. Its gradient g_i costs
// the backward pass one subtraction per row: dS_ij = P_ij (dP_ij − D_i + g_i) with D_i of Dao 2023, algorithm 2 (attend.h). So no
// tensor here has size queries × keys, forward or backward.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <vector>

#include "base/format.h"
#include "base/parallel.h"
#include "ops/ops.h"
#include "spec/names.h"
#include "spec/pair_visible.h"
#include "spec/rule_math.h"
#include "spec/score_function.h"
#include "tensor/convert.h"

namespace clearhead::ops {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();

void check_rank(const char* what, const Tensor& q, const Tensor& k) {
  if (q.defined() && k.defined() && q.rank() == 4 && k.rank() == 4 && k.size(1) > 0 && q.size(1) % k.size(1) == 0 && q.size(0) == k.size(0))
    return;
  fail(ErrorCode::kShape, "{}: q is {}, k {}; expected [batch, head, query, d_k] and [batch, key_head, key, d_k]", what,
       q.defined() ? to_string(q.shape()) : "undefined", k.defined() ? to_string(k.shape()) : "undefined");
}

// Throws kUnsupported unless ln P_ij = scale·q_i·k_j − L_i holds for the description.
void check_plain(const char* what, const AttentionSpec& spec) {
  const auto refuse = [&](const std::string& found, const char* expected) {
    fail(ErrorCode::kUnsupported, "{}: the description has {}; expected {}", what, found, expected);
  };
  if (!std::holds_alternative<Softmax>(spec.normaliser)) refuse("the normaliser " + name_of(spec.normaliser), "softmax");
  if (!std::holds_alternative<Dot>(spec.score)) refuse("a score that is " + name_of(spec.score), "a dot product");
  if (!spec.terms.empty()) refuse("score terms (biases, soft-caps or rules)", "none: the formula holds for scale·q·k alone");
}

AttentionSpec before_after(AttentionSpec spec) {
  spec.after = {};
  return spec;
}

// Attention without a site.   Returns [batch, head, query, d_v], contiguous.
Tensor attended(Run& run, const Tensor& q, const Keys& k, const Tensor& v, const AttentionSpec& spec, Tensor* log_sum_exp) {
  Tensor out = run.result({q.size(0), q.size(1), q.size(2), v.size(3)});
  attention(run, {.site = {}, .q = q, .keys = k, .v = v, .spec = spec, .output = {}, .log_sum_exp = log_sum_exp}, out);
  return out;
}

void add_to(Gradients& gradients, const Tensor& of, const Tensor& gradient) {
  if (!gradients.wants(of)) return;
  Gradients::Place to = gradients.place(of);
  add_strided(gradient, to.gradient, to.accumulate);
}

const float* row_of(const Tensor& t, int64_t batch, int64_t head, int64_t row) {
  return t.data<float>() + batch * t.stride(0) + head * t.stride(1) + row * t.stride(2);
}

// t in f32 with contiguous channels.
Tensor rows_of(const Tensor& t) {
  const Tensor wide = t.dtype() == DType::kF32 ? t : to_f32(t);
  return wide.stride(3) == 1 ? wide : wide.contiguous();
}

double dot(const float* a, const float* b, int64_t width) {
  double sum = 0;
  for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return sum;
}

// L − scale·q·mean of each row.   q, mean: [batch, head, query, d_k], log_sum_exp: [batch, head, query]
Tensor row_entropy(Run& run, const Tensor& q, const Tensor& mean, const Tensor& log_sum_exp, double scale) {
  const int64_t heads = q.size(1), queries = q.size(2), width = q.size(3), rows = q.size(0) * heads * queries;
  Tensor out = run.result({q.size(0), heads, queries});
  const Tensor read = rows_of(q);
  float* to = out.mutable_data<float>();
  const auto of = [=](const Tensor& t, int64_t row) { return row_of(t, row / queries / heads, row / queries % heads, row % queries); };
  parallel_for(rows, [&](int64_t row, int) {
    const float log = log_sum_exp.data<float>()[row];
    to[row] = log == kHidden ? 0.0F : static_cast<float>(static_cast<double>(log) - scale * dot(of(read, row), of(mean, row), width));
  });
  if (!run.records({&q, &mean, &log_sum_exp})) return out;
  run.recorder->record("attention_entropy", out, {q, mean, log_sum_exp}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Tensor d_q = Tensor::empty(mean.shape()), d_mean = Tensor::empty(mean.shape()), d_log = Tensor::empty(out.shape());
    float *q_to = d_q.mutable_data<float>(), *mean_to = d_mean.mutable_data<float>(), *log_to = d_log.mutable_data<float>();
    parallel_for(rows, [&](int64_t row, int) {
      const float given = log_sum_exp.data<float>()[row] == kHidden ? 0.0F : d_out.data<float>()[row];
      const float factor = static_cast<float>(-scale) * given;
      const float *from = of(read, row), *means = of(mean, row);
      log_to[row] = given;
      for (int64_t c = 0; c < width; ++c) q_to[row * width + c] = factor * means[c], mean_to[row * width + c] = factor * from[c];
    });
    add_to(gradients, q, d_q);
    add_to(gradients, mean, d_mean);
    add_to(gradients, log_sum_exp, d_log);
  });
  return out;
}

// Tells whether a description without lists shows a pair.
class Shown {
 public:
  Shown(const AttentionSpec& spec, int64_t queries, int64_t keys)
      : topology_(spec.topology), first_(first_position(spec.topology.band, queries, keys)), keys_(keys) {
    if (topology_.visible) rule_.emplace(*topology_.visible);
  }
  bool operator()(int64_t head, const AttentionPair& pair) {
    const Range band = visible_band(topology_.band, first_ + pair.query, keys_);
    if (pair.key < band.begin || pair.key >= band.end) return false;
    if (!segments_and_mask_show(topology_, {pair.batch, head, pair.query, pair.key})) return false;
    return !rule_ || rule_->value({.batch = pair.batch, .head = head, .query = first_ + pair.query, .key = pair.key}) != 0;
  }

 private:
  const Topology& topology_;
  int64_t first_, keys_;
  std::optional<RuleReader> rule_{};
};

void check_pairs(const std::vector<AttentionPair>& pairs, const Tensor& q, const Tensor& k) {
  for (const AttentionPair& pair : pairs) {
    const auto is_in = [](int64_t at, int64_t count) { return at >= 0 && at < count; };
    if (is_in(pair.batch, q.size(0)) && is_in(pair.query, q.size(2)) && is_in(pair.key, k.size(2))) continue;
    fail(ErrorCode::kInvalidArgument,
         "attention_log_weights: the pair of sequence {}, query {} and key {} is out of range; there are {}, {} and {}", pair.batch,
         pair.query, pair.key, q.size(0), q.size(2), k.size(2));
  }
}

}  // namespace

Tensor attention_log_sum_exp(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  check_rank("attention_log_sum_exp", q, k);
  Tensor log_sum_exp;
  attended(run, widened(run, q), widened(run, k), Tensor::zeros({k.size(0), k.size(1), k.size(2), 1}), before_after(spec), &log_sum_exp);
  return log_sum_exp;
}

Tensor attention_mean(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec, const Tensor& of_keys) {
  check_rank("attention_mean", q, k);
  if (!of_keys.defined() || of_keys.rank() != 2 || of_keys.size(1) != k.size(2) || (of_keys.size(0) != 1 && of_keys.size(0) != k.size(0)))
    fail(ErrorCode::kShape, "attention_mean: of_keys is {}; expected [{} or 1, {}], a number for each key",
         of_keys.defined() ? to_string(of_keys.shape()) : "undefined", k.size(0), k.size(2));
  const Tensor values = of_keys.reshape({of_keys.size(0), 1, k.size(2), 1}).expand({k.size(0), k.size(1), k.size(2), 1});
  return attended(run, widened(run, q), widened(run, k), values, before_after(spec), nullptr).select(3, 0);
}

Tensor attention_distance(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  check_rank("attention_distance", q, k);
  const Dot* given = std::get_if<Dot>(&spec.score);
  if (!given)
    fail(ErrorCode::kUnsupported, "attention_distance: the description has a score that is {}; expected a dot product",
         name_of(spec.score));
  const int64_t reach = q.size(2) + k.size(2) + std::abs(spec.topology.band.offset), rows = 2 * reach + 1;
  Tensor distances = Tensor::empty({1, rows, 1});
  for (int64_t row = 0; row < rows; ++row) distances.mutable_data<float>()[row] = static_cast<float>(std::abs(row - reach));
  AttentionSpec relative = before_after(spec);
  relative.score = Relative{
      .scale = static_cast<float>(scale_of(spec.score, q.size(3))), .keys = Tensor::zeros({1, rows, q.size(3)}), .values = distances};
  return attended(run, widened(run, q), widened(run, k), Tensor::zeros({k.size(0), k.size(1), k.size(2), 1}), relative, nullptr)
      .select(3, 0);
}

Tensor attention_entropy(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec) {
  check_rank("attention_entropy", q, k);
  check_plain("attention_entropy", spec);
  if (std::get<Softmax>(spec.normaliser).sinks)
    fail(ErrorCode::kUnsupported, "attention_entropy: the description has sink logits; expected none: a sink has no key");
  Tensor log_sum_exp;
  const Tensor wide_q = widened(run, q), wide_k = widened(run, k);
  const Tensor mean = attended(run, wide_q, wide_k, wide_k, before_after(spec), &log_sum_exp);
  return row_entropy(run, wide_q, mean, log_sum_exp, scale_of(spec.score, q.size(3)));
}

Tensor attention_log_weights(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec, const Tensor& log_sum_exp,
                             const std::vector<AttentionPair>& pairs) {
  check_rank("attention_log_weights", q, k);
  check_plain("attention_log_weights", spec);
  if (spec.topology.block_sparse)
    fail(ErrorCode::kUnsupported,
         "attention_log_weights: topology.block_sparse is not supported; expected a band, segments, a mask or a visibility rule");
  check_pairs(pairs, q, k);
  const int64_t heads = q.size(1), key_heads = k.size(1), queries = q.size(2), keys = k.size(2), width = q.size(3);
  const int64_t group = heads / key_heads, count = static_cast<int64_t>(pairs.size());
  const double scale = scale_of(spec.score, width);
  const Tensor q_rows = rows_of(q), k_rows = rows_of(k);
  Tensor out = run.result({count, heads});
  float* to = out.mutable_data<float>();
  parallel_for(heads, [&](int64_t head, int) {
    Shown shows(spec, queries, keys);
    for (int64_t at = 0; at < count; ++at) {
      const AttentionPair& pair = pairs[static_cast<size_t>(at)];
      const double log = static_cast<double>(log_sum_exp.data<float>()[(pair.batch * heads + head) * queries + pair.query]);
      const double score =
          scale * dot(row_of(q_rows, pair.batch, head, pair.query), row_of(k_rows, pair.batch, head / group, pair.key), width);
      to[at * heads + head] = shows(head, pair) ? static_cast<float>(score - log) : kHidden;
    }
  });
  if (!run.records({&q, &k, &log_sum_exp})) return out;
  run.recorder->record("attention_log_weights", out.slice(0, 0, 0), {q, k, out}, [=](Gradients& gradients) {
    const Tensor d_out = gradients.of(out);
    Tensor d_q = Tensor::zeros(q.shape()), d_k = Tensor::zeros(k.shape()), d_log = Tensor::zeros(log_sum_exp.shape());
    float *q_to = d_q.mutable_data<float>(), *k_to = d_k.mutable_data<float>(), *log_to = d_log.mutable_data<float>();
    parallel_for(key_heads, [&](int64_t key_head, int) {  // pairs of one key head write only to its own rows
      for (int64_t item = 0; item < count * group; ++item) {
        const int64_t at = item / group, head = key_head * group + item % group;
        const float given = d_out.data<float>()[at * heads + head];
        if (given == 0 || out.data<float>()[at * heads + head] == kHidden) continue;
        const AttentionPair& pair = pairs[static_cast<size_t>(at)];
        const int64_t query = (pair.batch * heads + head) * queries + pair.query,
                      key = (pair.batch * key_heads + key_head) * keys + pair.key;
        const float *from_q = row_of(q_rows, pair.batch, head, pair.query), *from_k = row_of(k_rows, pair.batch, key_head, pair.key);
        const float factor = static_cast<float>(scale) * given;
        log_to[query] -= given;
        for (int64_t c = 0; c < width; ++c) q_to[query * width + c] += factor * from_k[c], k_to[key * width + c] += factor * from_q[c];
      }
    });
    add_to(gradients, q, d_q);
    add_to(gradients, k, d_k);
    add_to(gradients, log_sum_exp, d_log);
  });
  return out;
}

Tensor mean_head_cross_entropy(Run& run, const Tensor& log_weights, const std::vector<float>& factors) {
  const int64_t pairs = log_weights.size(0), heads = log_weights.size(1);
  if (pairs != static_cast<int64_t>(factors.size()))
    fail(ErrorCode::kShape, "mean_head_cross_entropy: {} factors for {} pairs; expected one for each", factors.size(), pairs);
  std::vector<double> sums(factors.size());  // Σ_h e^(x_h − largest)
  const auto largest_of = [=](int64_t pair) {
    const float* of = log_weights.data<float>() + pair * heads;
    return static_cast<double>(*std::max_element(of, of + heads));
  };
  double total = 0;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const double largest = largest_of(pair);
    double& sum = sums[static_cast<size_t>(pair)];
    for (int64_t head = 0; head < heads; ++head)
      sum += std::exp(static_cast<double>(log_weights.data<float>()[pair * heads + head]) - largest);
    total -= static_cast<double>(factors[static_cast<size_t>(pair)]) * (largest + std::log(sum / static_cast<double>(heads)));
  }
  Tensor loss = run.result({1});
  *loss.mutable_data<float>() = static_cast<float>(total);
  if (!run.records({&log_weights})) return loss;
  run.recorder->record("mean_head_cross_entropy", loss, {log_weights}, [=, factors = factors](Gradients& gradients) {
    const double given = static_cast<double>(*gradients.of(loss).data<float>());
    Tensor d_log_weights = Tensor::empty(log_weights.shape());
    for (int64_t at = 0; at < pairs * heads; ++at) {
      const auto pair = static_cast<size_t>(at / heads);
      const double share = std::exp(static_cast<double>(log_weights.data<float>()[at]) - largest_of(at / heads)) / sums[pair];
      d_log_weights.mutable_data<float>()[at] = static_cast<float>(-given * static_cast<double>(factors[pair]) * share);
    }
    add_to(gradients, log_weights, d_log_weights);
  });
  return loss;
}

}  // namespace clearhead::ops
