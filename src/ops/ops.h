// The ops of a forward pass. Each op checks shapes (kShape) and calls the backend in use. The .cc file of an op also holds
// its gradient, which is recorded if the run has a recorder.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/dense.h"
#include "clearhead/attend.h"
#include "clearhead/compute.h"
#include "ops/run.h"

namespace clearhead::ops {

struct LinearOptions {
  Activation activation = Activation::kNone;
  bool accumulate = false;  // out += …
};
/// out[r] = f(x[r]·Wᵀ + bias), f: options.activation.   x: [rows, in], out: [rows, out], contiguous rows; bias: [out] or undefined.
/// If Run::operands is bf16 and the weight is a LiveWeight or is stored in bf16, x, W and (in the backward pass) d_out are
/// rounded to bf16 first. Sums, bias and all gradients are f32; out is f32 unless linear_dtype() allows bf16. Throws
/// kUnsupported for gradients through a weight that is not a LiveWeight.
void linear(Run& run, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options = {});
/// The dtype in which to allocate the output of linear() if only matrix products and attention read it: bf16 (rounded
/// once) if the run computes in bf16 without gradients and the weight is prepared and stored as bf16; else f32.
DType linear_dtype(const Run& run, const PreparedWeight& weight);

struct Normalisation {
  bool rms = false;
  double epsilon = 1e-5;
  Tensor weight{};  // [width]
  Tensor bias{};    // [width] or undefined
};
/// out = norm(x).   [rows, width], contiguous; may run in place.
void norm(Run& run, const Tensor& x, const Normalisation& normalisation, Tensor& out);

struct EmbeddingTables {
  Tensor tokens{}, positions{}, types{};  // [entries, width], f32, bf16 or f16; undefined: not added
  float scale = 1;
};
struct EmbeddingIds {
  const std::vector<int32_t>& tokens;
  const std::vector<int32_t>& positions;  // rows of the position table
  const std::vector<int32_t>& types;
};
/// out[r] = scale·tokens[id] + positions[p] + types[t].   out: [rows, width]. Throws kInvalidArgument for ids
/// outside their tables.
void embed(Run& run, const EmbeddingTables& tables, const EmbeddingIds& ids, Tensor& out);

/// out[r] = x[rows[r]].   x: [entries, width], out: [rows, width], contiguous. Throws kInvalidArgument for
/// rows out of range.
void gather_rows(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out);

/// Cosines and sines of a rotary embedding for the rows of a batch, [rows, dims / 2] each.
struct RotaryAngles {
  Tensor cosine{}, sine{};
  int64_t dims = 0;
  bool interleaved = false;
};
/// base^(−2i/dims) of each pair i, in radians per position (Su et al. 2021, §3.2.2).
std::vector<double> rotary_frequencies(double base, int64_t dims);
/// Writes the cosines and sines of position·frequency to `angles`, whose tensors the caller has allocated.
/// angles.cosine, angles.sine: [positions, frequencies]
void fill_angles(const std::vector<double>& frequencies, const std::vector<int32_t>& positions, RotaryAngles& angles);
/// Returns the same angles in newly allocated temporary memory of the run (Run::take).
RotaryAngles rotary_angles(Run& run, const std::vector<double>& frequencies, bool interleaved, const std::vector<int32_t>& positions);
/// Applies a rotary embedding to the heads of x, in place.   x: [rows, heads, head_dim], head_dim contiguous.
void rotary(Run& run, Tensor& x, const RotaryAngles& angles);

/// out = f(x).   Contiguous, equal shapes; not in place.
void activate(Run& run, Activation activation, const Tensor& x, Tensor& out);

/// out = f(gate) ⊙ up.   x: [rows, gate | up], out: [rows, width]; contiguous.
void gated(Run& run, Activation activation, const Tensor& x, Tensor& out);

/// out += x.   Equal shapes, any strides; broadcast with Tensor::expand.
void add(Run& run, const Tensor& x, Tensor& out);
/// out = x.   Equal shapes, any strides.
void copy(Run& run, const Tensor& x, Tensor& out);
/// x in the dtype that attention and products read (Run::operands): x itself, or a copy rounded to bf16. Any strides.
Tensor rounded(Run& run, const Tensor& x);
/// x in f32: x itself, or a widened copy. Any strides.
Tensor widened(Run& run, const Tensor& x);
/// out = scale·x ⊙ factor, or out += … if accumulate; not recorded. An undefined factor means ones. If out is broadcast
/// (stride 0) along an axis, it gets the sum over that axis.
void add_strided(const Tensor& x, Tensor& out, bool accumulate, const Tensor& factor = {}, float scale = 1);
/// out = a ⊙ b.   Equal shapes, any strides; out contiguous.
void multiply(Run& run, const Tensor& a, const Tensor& b, Tensor& out);

enum class Reduction : uint8_t { kSum, kMean, kMax };
/// Sum (in double), mean or maximum over an axis, which must not be empty. Of equal maxima the first is chosen and gets
/// the whole gradient; NaN is larger than any number. x: any strides for sum and mean, contiguous for the maximum.
/// out: x's shape without the axis, contiguous.
void reduce(Run& run, Reduction reduction, const Tensor& x, int axis, Tensor& out);

/// Concatenates the parts along an axis; any strides. The inverse is Tensor::slice.
void concat(Run& run, const std::vector<Tensor>& parts, int axis, Tensor& out);

/// out[rows[r]] += x[r], starting from zeros, in ascending r.   x: [rows, width], out: [entries, width], contiguous.
/// Throws kInvalidArgument for rows out of range.
void index_add(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out);

/// out = softmax(x) over the last axis.   Contiguous, equal shapes.
void softmax(Run& run, const Tensor& x, Tensor& out);

struct DropoutOptions {
  float rate = 0;  // 0 ≤ rate < 1
  uint64_t seed = 0;
  bool accumulate = false;  // out += …
};
/// out = x/(1 − rate) where kept, 0 elsewhere (Srivastava et al. 2014). Which elements are kept depends on the seed and
/// the element's index only. May run in place.
void dropout(Run& run, const Tensor& x, const DropoutOptions& dropping, Tensor& out);

/// out = ln(p·softmax(logits) + (1 − p)·copied), p = σ(gate): log-probabilities of words that are generated or copied (See et
/// al. 2017, eq. 9). copied[row, c] is the probability, ≥ 0, of copying the token of column c; a token without a column has 0.
/// logits, out: [rows, vocabulary], gate: [rows, 1], copied: [rows, columns]; contiguous. tokens: [sequence, column], the token
/// of each column, −1 for an unused column; a token occurs at most once per sequence. Each sequence has rows / sequences
/// consecutive rows. Throws kInvalidArgument for a token beyond the vocabulary.
void pointer_mixture(Run& run, const Tensor& logits, const Tensor& gate, const Tensor& copied, const std::vector<int32_t>& tokens,
                     Tensor& out);

struct CrossEntropyOptions {
  float smoothing = 0;     // label smoothing (Szegedy et al. 2016, §7)
  int32_t ignored = -100;  // rows with this target are left out
  // The sum of losses is divided by this; 0: by the number of rows that are not ignored. Gradient accumulation passes
  // that number for the whole batch.
  double divisor = 0;
  std::vector<float> row_weights{};  // [rows] factor on the loss of each row; the divisor does not include it; empty: ones
};
/// The mean loss [1].   logits: [rows, classes], contiguous.
Tensor cross_entropy(Run& run, const Tensor& logits, const std::vector<int32_t>& targets, const CrossEntropyOptions& options = {});
/// −log softmax(logits[r])[targets[r]] of each row: [rows]. No gradient.
Tensor losses(const Tensor& logits, const std::vector<int32_t>& targets);
/// softmax(x) of one row, computed in double. No gradient.   x: count ≥ 1 logits
std::vector<double> softmax_of(const float* x, int64_t count);
/// ln Σ_c e^(x_c) for count ≥ 1, with an absolute error of at most 1e-5. NaN if an x_c is NaN or the largest is infinite.
double log_sum_exp(const float* x, int64_t count);

/// Convolution of x with the weight (a cross-correlation, as in PyTorch), plus bias.
/// x: [batch, channels, height, width], weight: [out, channels / groups, kernel height, kernel width], bias: [out] or
/// undefined; contiguous. out: convolved_shape().
void conv(Run& run, const Tensor& x, const Tensor& weight, const Tensor& bias, const Convolution& how, Tensor& out);
Shape convolved_shape(const Tensor& x, const Tensor& weight, const Convolution& how);

/// Maximum or mean of each window. The gradient of a maximum goes to its first occurrence. In a mean, padding counts as zeros.
/// x: [batch, channels, height, width], contiguous.
/// out: pooled_shape().
void max_pool(Run& run, const Tensor& x, const PoolWindow& window, Tensor& out);
void avg_pool(Run& run, const Tensor& x, const PoolWindow& window, Tensor& out);
Shape pooled_shape(const Tensor& x, const PoolWindow& window);

struct BatchNorm {
  Tensor weight{}, bias{};                    // [channels]
  Tensor running_mean{}, running_variance{};  // [channels]: updated in training, used in evaluation
  bool training = true;
  double momentum = 0.1, epsilon = 1e-5;
};
/// Normalises x per channel over all other axes (Ioffe & Szegedy 2015).   x: [batch, channels, …], contiguous; not in
/// place. Throws kShape in training if a channel has fewer than two elements.
void batch_norm(Run& run, const Tensor& x, const BatchNorm& norm, Tensor& out);

/// States at all steps (GRU: Cho et al. 2014, with the reset gate after the product, as in PyTorch; LSTM: Hochreiter &
/// Schmidhuber 1997).   x: [batch, time, in]. out: [batch, time, hidden]; for an LSTM [2, batch, time, hidden], states
/// then cells. Contiguous. Throws kInvalidArgument for lengths out of range.
void recurrent(Run& run, RecurrentKind kind, const Tensor& x, const Recurrence& given, Tensor& out);

struct AttentionCall {
  const Site& site;
  const Tensor& q;   // [batch, head, query, d_k]
  const Keys& keys;  // [batch, key_head, key, d_k], or pages
  const Tensor& v;   // [batch, key_head, key, d_v]; of the new keys only, if keys are pages
  const AttentionSpec& spec;
  const Tensor& output;  // result of output_factor(), for the output norms; read only if `wanted`; undefined: no output norms
  bool wanted = false;   // report the call to the observer
  /// If not null, receives the log-sum-exp of each row, f32 [batch, head, query], which is recorded as a second result.
  Tensor* log_sum_exp = nullptr;
};
/// Computes attention into out: [batch, head, query, d_v], any strides. Calls the observer's take() if wanted. Throws
/// kUnsupported if a log-sum-exp is requested and the normaliser is not softmax or the keys are pages.
void attention(Run& run, const AttentionCall& call, Tensor& out);

/// Statistics of attention weights: see the methods of Compute with these names. They are computed in f32, from the weights
/// before the description's `after`.
Tensor attention_log_sum_exp(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec);
Tensor attention_mean(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec, const Tensor& of_keys);
Tensor attention_distance(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec);
Tensor attention_entropy(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec);
/// log_sum_exp: f32 [batch, head, query], from a call with the same q, k and description; gradients flow through it.
Tensor attention_log_weights(Run& run, const Tensor& q, const Tensor& k, const AttentionSpec& spec, const Tensor& log_sum_exp,
                             const std::vector<AttentionPair>& pairs);
/// −Σ_p f_p·ln(mean_h e^x_ph), shape [1]: the cross-entropy of the mean attention weight over heads against targets f.
/// log_weights: x, [pair, head], contiguous; factors: f, [pair]. Throws kShape if the numbers of pairs differ.
Tensor mean_head_cross_entropy(Run& run, const Tensor& log_weights, const std::vector<float>& factors);

/// For each head h of an output projection, the matrix L_h with ‖v·L_h‖ = ‖v·W_O^h‖ for every v: f32 [head, d_v, d_v]. Not
/// recorded.   output.in: heads·d_v
Tensor output_factor(Run& run, const PreparedWeight& output, int64_t heads, int64_t d_v);

/// Features for LinearAttention (attend.h), with gradients.   x: [batch, head, length, d], any strides; out:
/// contiguous, [batch, head, length, d] for elu_plus_one, [batch, head, length, features] for
/// positive_random_features; not in place.
///
/// The gradient treats the shift (FeatureShift) as a constant; a shift cancels in LinearAttention. The projection, f32 [features, d], is
/// not trained: throws kUnsupported if its gradient is requested.
void elu_plus_one(Run& run, const Tensor& x, Tensor& out);
void positive_random_features(Run& run, const Tensor& x, const Tensor& projection, FeatureShift shift, Tensor& out);

/// ‖v_j‖ and ‖v_j·O_h‖.   v: [batch, key_head, key, d_v]; output: O, [head, d_v, any], contiguous, or undefined.
KeyNorms key_norms(const Tensor& v, const Tensor& output);

}  // namespace clearhead::ops
