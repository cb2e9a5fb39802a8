// The ops of a forward pass. Each checks shapes (kShape), then lets the backend in use compute. One .cc an op; a gradient stands beside its forward, and is
// recorded where the run has a recorder.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "backends/dense.h"
#include "clearhead/attend.h"
#include "ops/run.h"

namespace clearhead::ops {

struct LinearOptions {
  Activation activation = Activation::kNone;
  bool accumulate = false;  // out += …
};
/// out[r] = f(x[r]·Wᵀ + bias).   x: [rows, in], out: [rows, out], rows contiguous; bias: [out] or undefined. Where the run's operands are bf16, x (unless it is
/// bf16 already), a live W and, backwards, d_out are rounded to bf16 first; sums, results and gradients are f32, the bias and its gradient too.
void linear(Run& run, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options = {});
/// What out of `linear` may be where only products read it: bf16, rounded once, in a run in bf16 without gradients through a weight of bf16; else f32.
DType linear_dtype(const Run& run, const PreparedWeight& weight);

struct Normalisation {
  bool rms = false;
  double epsilon = 1e-5;
  Tensor weight{};  // [width]
  Tensor bias{};    // [width] or undefined
};
/// out = norm(x).   [rows, width], contiguous; out may be x.
void norm(Run& run, const Tensor& x, const Normalisation& normalisation, Tensor& out);

struct EmbeddingTables {
  Tensor tokens{}, positions{}, types{};  // [entries, width], f32, bf16 or f16; undefined: left out
  float scale = 1;
};
struct EmbeddingIds {
  const std::vector<int32_t>& tokens;
  const std::vector<int32_t>& positions;  // rows of the table
  const std::vector<int32_t>& types;
};
/// out[r] = scale·tokens[id] + positions[p] + types[t].   out: [rows, width]. Throws kInvalidArgument for ids outside their tables.
void embed(Run& run, const EmbeddingTables& tables, const EmbeddingIds& ids, Tensor& out);

/// out[r] = x[rows[r]].   x: [entries, width], out: [rows, width], contiguous. Throws kInvalidArgument for rows that x has not.
void gather_rows(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out);

/// Angles of a rotary embedding for the rows of a batch: cosine and sine, [rows, dims / 2].
struct RotaryAngles {
  Tensor cosine{}, sine{};
  int64_t dims = 0;
  bool interleaved = false;
};
/// Turns the heads of x in place.   x: [rows, heads, head_dim], head_dim contiguous.
void rotary(Run& run, Tensor& x, const RotaryAngles& angles);

/// out = f(x).   Contiguous, one shape; not in place.
void activate(Run& run, Activation activation, const Tensor& x, Tensor& out);

/// out = f(gate) ⊙ up.   x: [rows, gate | up], out: [rows, width]; contiguous.
void gated(Run& run, Activation activation, const Tensor& x, Tensor& out);

/// out += x.   One shape, any strides: a row or a column takes part as Tensor::expand broadcasts it, here and below.
void add(Run& run, const Tensor& x, Tensor& out);
/// out = x.   One shape, any strides.
void copy(Run& run, const Tensor& x, Tensor& out);
/// x in the dtype that attention and products read (Run::operands): itself, or rounded to bf16. Any strides.
Tensor rounded(Run& run, const Tensor& x);
/// x in f32: itself, or widened. Any strides.
Tensor widened(Run& run, const Tensor& x);
/// out (+)= scale·x ⊙ factor without a record; an undefined factor is ones. An out that is broadcast gets the sum over what it stands still along.
void add_strided(const Tensor& x, Tensor& out, bool accumulate, const Tensor& factor = {}, float scale = 1);
/// out = a ⊙ b.   One shape, any strides; out contiguous.
void multiply(Run& run, const Tensor& a, const Tensor& b, Tensor& out);

enum class Reduction : uint8_t { kSum, kMean, kMax };
/// Sums (in double), means or largest elements over an axis that is not empty. Of equals the first is the largest: the gradient is its alone; NaN is larger
/// than numbers. x: any strides for sums and means, else contiguous. out: x's shape without the axis, contiguous.
void reduce(Run& run, Reduction reduction, const Tensor& x, int axis, Tensor& out);

/// out = the parts one after another along an axis; any strides. What splits is Tensor::slice.
void concat(Run& run, const std::vector<Tensor>& parts, int axis, Tensor& out);

/// out[rows[r]] += x[r] over zeros, in ascending r.   x: [rows, width], out: [entries, width], contiguous. Throws kInvalidArgument for rows that out has not.
void index_add(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out);

/// out = softmax(x) over the last axis.   Contiguous, one shape.
void softmax(Run& run, const Tensor& x, Tensor& out);

struct Dropping {
  float rate = 0;  // 0 ≤ rate < 1
  uint64_t seed = 0;
  bool accumulate = false;  // out += …
};
/// out = x/(1 − rate) where kept, 0 elsewhere (Srivastava et al. 2014). Who is kept follows from the seed and the element's place. May be in place.
void dropout(Run& run, const Tensor& x, const Dropping& dropping, Tensor& out);

struct CrossEntropyOptions {
  float smoothing = 0;     // of labels: Szegedy et al. 2016, §7
  int32_t ignored = -100;  // rows with this target do not count
  double divisor = 0;      // of the sum of losses; 0: the rows that count. Parts of one batch share the batch's
};
/// The mean loss [1] of rows of logits [rows, classes], contiguous.
Tensor cross_entropy(Run& run, const Tensor& logits, const std::vector<int32_t>& targets, const CrossEntropyOptions& options = {});
/// −log softmax(logits[r])[targets[r]] of each row: [rows]. Of logits as above; no gradient.
Tensor losses(const Tensor& logits, const std::vector<int32_t>& targets);
/// ln Σ_c e^(x_c), count ≥ 1, off by 1e-5 at most. NaN where one is, or where the largest is infinite.
double log_sum_exp(const float* x, int64_t count);

/// Over [height, width].
struct Convolution {
  std::array<int64_t, 2> stride{1, 1}, padding{0, 0}, dilation{1, 1};
  int64_t groups = 1;
};
/// out = x convolved (correlated, as everywhere in this field) with the weight, plus bias.   x: [batch, channels, height, width],
/// weight: [out, channels / groups, kernel height, kernel width], bias: [out] or undefined; contiguous. out: convolved_shape().
void conv(Run& run, const Tensor& x, const Tensor& weight, const Tensor& bias, const Convolution& how, Tensor& out);
Shape convolved_shape(const Tensor& x, const Tensor& weight, const Convolution& how);

struct Pooling {
  bool largest = true;                                               // else the mean, in which padding counts as zeros
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1}, padding{0, 0};  // padding < kernel
};
/// out = the largest element (of equals the first) or the mean of every window.   x: [batch, channels, height, width], contiguous. out: pooled_shape().
void pool(Run& run, const Tensor& x, const Pooling& how, Tensor& out);
Shape pooled_shape(const Tensor& x, const Pooling& how);

struct BatchNorm {
  Tensor weight{}, bias{};                    // [channels]
  Tensor running_mean{}, running_variance{};  // [channels]: moved along in training, used in evaluation
  bool training = true;
  double momentum = 0.1, epsilon = 1e-5;
};
/// out = x, normalised by channel over everything else (Ioffe & Szegedy 2015).   x: [batch, channels, …], contiguous; not in place. Throws kShape in training
/// for less than two elements a channel.
void batch_norm(Run& run, const Tensor& x, const BatchNorm& norm, Tensor& out);

/// One direction of a recurrent layer, in PyTorch's layout: gates r, z, n of a GRU and i, f, g, o of an LSTM, one below the other.
struct Recurrence {
  Tensor input_weight{};               // [gates·hidden, in]
  Tensor hidden_weight{};              // [gates·hidden, hidden]
  Tensor input_bias{}, hidden_bias{};  // [gates·hidden] or undefined
  Tensor state{}, cell{};              // [batch, hidden]: before the first step; undefined: zeros
  std::vector<int32_t> lengths{};      // [batch]: steps past them keep the state; empty: all of time
  bool backwards = false;              // from the last step to the first
};
/// The states of all steps (GRU: Cho et al. 2014, its reset gate after the product, as in PyTorch; LSTM: Hochreiter & Schmidhuber 1997).
/// x: [batch, time, in], out: [batch, time, hidden]; of an LSTM [2, batch, time, hidden]: states, cells. Contiguous. Throws kInvalidArgument for lengths that
/// time has not.
void recurrent(Run& run, RecurrentKind kind, const Tensor& x, const Recurrence& given, Tensor& out);

struct AttentionCall {
  const Site& site;
  const Tensor& q;   // [batch, head, query, d_k]
  const Keys& keys;  // [batch, key_head, key, d_k], or pages
  const Tensor& v;   // [batch, key_head, key, d_v]: of the new keys where keys are pages
  const AttentionSpec& spec;
  const Tensor& gram;  // f32 [head, d_v, d_v]: W_O^h·W_O^hᵀ, read only when wanted; undefined: no output norms
  bool wanted = false;
};
/// The fused call into out [batch, head, query, d_v], any strides. Tells the observer where wanted.
void attention(Run& run, const AttentionCall& call, Tensor& out);

/// Features for LinearAttention (attend.h), recorded.   x: [batch, head, length, d], any strides; out: contiguous, [batch, head, length, d] of the first, of the second
/// [batch, head, length, features]; not in place. The gradient takes the shift as given: it cancels in LinearAttention. The projection, f32 [features, d], is drawn and
/// not trained: throws kUnsupported where its gradient is asked for.
void elu_plus_one(Run& run, const Tensor& x, Tensor& out);
void positive_random_features(Run& run, const Tensor& x, const Tensor& projection, FeatureShift shift, Tensor& out);

/// ‖v_j‖ and ‖v_j·W_O^h‖ = √(v_j·G_h·v_jᵀ).   v: [batch, key_head, key, d_v], gram: [head, d_v, d_v] or undefined.
KeyNorms key_norms(const Tensor& v, const Tensor& gram);

}  // namespace clearhead::ops
