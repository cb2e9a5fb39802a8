// Implemented in src/ops.
// The ops of a network, computed without recording: runs the models that Training (train.h) trains.
//
//   Tensor logits(Compute& compute, const Tensor& x) { return compute.linear(compute.activate("gelu", x), weight); }
//
//   Compute compute({.observer = &trace});
//   logits(compute, x);                                     // runs; attention is reported to the observer
//   Training training;
//   training.step(training.cross_entropy(logits(training, x), targets), learning_rate);   // the same code, recorded
//
// Training is a Compute that records every op. Both give the same bits. Only dropout() and batch_norm() differ: outside
// training nothing is dropped, and batch_norm() uses the running statistics.
//
// Tensors are f32. An op returns new memory. Use a Compute from one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "clearhead/attend.h"
#include "clearhead/observer.h"
#include "clearhead/spec.h"
#include "clearhead/tensor.h"

namespace clearhead {

/// Geometry of a convolution over [height, width]. Convolutions over sequences use the second number of each pair.
struct Convolution {
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  int64_t groups = 1;  ///< groups of channels; depthwise if equal to the number of channels
};

/// Geometry of pooling over [height, width]. Pooling over sequences uses the second number of each pair.
struct PoolWindow {
  std::array<int64_t, 2> kernel = {1, 1};
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0};  ///< padding < kernel
};

/// Running statistics of batch_norm per channel, used in evaluation. Undefined tensors start as zeros (mean) and ones
/// (variance).
struct RunningStatistics {
  Tensor mean{}, variance{};  ///< [channels]; the variance divides by n − 1
  double momentum = 0.1;      ///< weight of the newest batch
};

/// One direction of a recurrent layer in PyTorch's layout: gates r, z, n of a GRU, or i, f, g, o of an
/// LSTM, stacked by rows.
struct Recurrence {
  Tensor input_weight{};               ///< [gates·hidden, in]
  Tensor hidden_weight{};              ///< [gates·hidden, hidden]
  Tensor input_bias{}, hidden_bias{};  ///< [gates·hidden], or undefined
  Tensor state{}, cell{};              ///< [batch, hidden] before the first step; undefined: zeros
  /// [batch] lengths of the sequences. Steps after the end of a sequence are not read and keep its state. Empty: all
  /// steps are used.
  std::vector<int32_t> lengths{};
  bool backwards = false;  ///< run from the last step to the first
};

/// A rotary embedding: channel pair i of a head is rotated by the angle position·base^(−2i/dims) (Su et al. 2021,
/// §3.2.2).
struct Rotary {
  double base = 10000;
  int64_t dims = 0;          ///< number of leading channels of each head that are rotated, even; 0: all
  bool interleaved = false;  ///< pairs are channels (2i, 2i + 1), as in the paper; otherwise (i, i + dims / 2), as in Llama
};

/// One query and one key of a sequence of the batch, for all heads.
struct AttentionPair {
  int32_t batch = 0, query = 0, key = 0;
};

struct ComputeOptions {
  /// Receives every attention call that has a site. If the observer needs the plan of the run first (a Trace does), the
  /// caller provides it: observer.begin(plan).
  Observer* observer = nullptr;
  /// With kBF16, linear() and attend() round x, weights, q, k and v to bf16; sums, results and all other ops stay f32
  /// (Micikevicius et al. 2018, §3.1).
  DType operands = DType::kF32;
  Interventions interventions{};  ///< ablated heads and attention knockouts, applied to attend() calls with a site
};

class Compute {
 public:
  /// Throws kUnsupported for operands other than f32 and bf16.
  explicit Compute(const ComputeOptions& options = {});
  virtual ~Compute();
  Compute(const Compute&) = delete;
  Compute& operator=(const Compute&) = delete;

  /// True if ops are recorded for a backward pass.
  virtual bool is_training() const { return false; }
  /// True if an observer wants the attention of this site.
  bool observes(const Site& site) const;

  /// Looks up rows of a table (embedding).   table: [entries, width] → [ids, width]
  Tensor embed(const Tensor& table, const std::vector<int32_t>& ids);
  /// x·Wᵀ + b.   x: [rows, in], weight: [out, in], bias: [out] or undefined → [rows, out]
  Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
  /// Layer norm of each row: (x − mean)/√(var + ε)·weight + bias. Without a bias, RMS norm: x/√(mean x² + ε)·weight.
  /// x: [rows, width]
  Tensor norm(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, double epsilon = 1e-5);
  /// Applies the activation with this Hugging Face name: "relu", "gelu", "gelu_new", "silu", "tanh", "sigmoid",
  /// "linear", or a synonym such as "gelu_fast" or "swish". Throws kInvalidArgument for other names.
  Tensor activate(std::string_view name, const Tensor& x);
  /// a + b and a ⊙ b, for equal shapes. Use Tensor::expand to broadcast a row or a column.
  Tensor add(const Tensor& a, const Tensor& b);
  Tensor multiply(const Tensor& a, const Tensor& b);
  /// Sum, mean or maximum over an axis, which is removed. If several elements are equal to the maximum, the first gets
  /// the gradient. max() throws kShape for a strided x.
  Tensor sum(const Tensor& x, int axis);
  Tensor mean(const Tensor& x, int axis);
  Tensor max(const Tensor& x, int axis);
  /// Concatenates tensors along an axis. The inverse is Tensor::slice.
  Tensor concat(const std::vector<Tensor>& parts, int axis);
  /// A copy in row-major order, for example to reshape a permuted view.
  Tensor contiguous(const Tensor& x) { return concat({x}, 0); }
  /// out[rows[r]] += x[r], starting from zeros.   x: [rows, width] → [entries, width]
  Tensor index_add(const Tensor& x, const std::vector<int32_t>& rows, int64_t entries);
  /// Softmax over the last axis.
  Tensor softmax(const Tensor& x);
  /// In training, each element becomes 0 with probability `rate` and x/(1 − rate) otherwise (Srivastava et al. 2014).
  /// Outside training, x itself. 0 ≤ rate < 1.
  Tensor dropout(const Tensor& x, double rate);

  /// Convolution over images or sequences.   x: [batch, channels, height, width] or [batch, channels, length],
  /// contiguous; weight: [out, channels / groups, kernel …]; bias: [out] or undefined → [batch, out, …]
  Tensor conv(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Convolution& how = {});
  /// Maximum or mean of each window. If several elements are equal to the maximum, the first gets the gradient. Padding
  /// counts as zeros in a mean.   x: as in conv()
  Tensor max_pool(const Tensor& x, const PoolWindow& window);
  Tensor avg_pool(const Tensor& x, const PoolWindow& window);
  /// (x − mean)/√(variance + 1e-5)·weight + bias per channel (Ioffe & Szegedy 2015). In training, and if `training` is
  /// true, mean and variance are those of the batch, and the running statistics are updated. Otherwise the running
  /// statistics are used.   x: [batch, channels, …], contiguous
  Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, RunningStatistics& running, bool training = true);

  /// States of a GRU at all steps (Cho et al. 2014; the reset gate acts after the product, as in PyTorch). The final
  /// state is at the last step, or at the first step if layer.backwards.   x: [batch, time, in],
  /// contiguous → [batch, time, hidden]
  Tensor gru(const Tensor& x, const Recurrence& layer);
  struct LstmStates {
    Tensor state{}, cell{};  ///< [batch, time, hidden] each
  };
  /// The same for an LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).
  LstmStates lstm(const Tensor& x, const Recurrence& layer);

  /// clearhead::attend(). In training, q, k, v and the f32 operands of the description get gradients if they are
  /// parameters or computed from parameters.
  /// Returns [batch, head, query, d_v] in memory order [batch, query, head, d_v].
  ///
  /// With a site, the interventions apply, and an observer that wants the site gets the record and the norms of the
  /// values. Norms after the output projection are computed only if its weight is given.
  /// output_weight: [width, head·d_v]
  /// Interventions identify a query by its position among the keys. For a site of family "cross", and for a site that
  /// names its queries or keys, they identify it by site.step + its index in this call (step: the number of earlier
  /// queries).
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {}, const std::optional<Site>& site = {},
                const Tensor& output_weight = {});

  /// The functions below compute statistics of the weights P of attend(q, k, ·, spec) that can be part of a loss. In
  /// training they have gradients for q, k and the operands of spec. None allocates a queries × keys buffer: each is
  /// computed as attention over other values. Results are f32 [batch, head, query] unless noted, are computed in f32 for
  /// any ComputeOptions::operands, and describe the weights before spec.after.
  ///
  /// L_i = ln Σ_j e^s_ij (sink logit included); −∞ with gradient 0 for a row that sees no key. Throws kUnsupported, naming
  /// it, for a normaliser other than softmax.
  Tensor attention_log_sum_exp(const Tensor& q, const Tensor& k, const AttentionSpec& spec = {});
  /// Σ_j P_ij·x_j, for any description. With x_j = 1 for the keys of a span and 0 for others it is the attention mass on
  /// that span; with x_j = j it is the mean index of a key.   of_keys: the x_j, f32 [batch|1, key], contiguous
  Tensor attention_mean(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const Tensor& of_keys);
  /// Σ_j P_ij·|p_i − j| in keys, where p_i is the query's position (Statistic::kDistance). It is computed with the value
  /// table of a relative score, so it throws kUnsupported if the score is not a dot product.
  Tensor attention_distance(const Tensor& q, const Tensor& k, const AttentionSpec& spec = {});
  /// H_i = −Σ_j P_ij ln P_ij in nats = L_i − scale·q_i·Σ_j P_ij k_j; 0 for a row that sees no key. The error is a few
  /// ε·(1 + S_i), where S_i is the largest |score|. Throws kUnsupported, naming the feature, for a normaliser other than
  /// softmax, a score other than a dot product, score terms and sink logits: the formula does not hold for them.
  Tensor attention_entropy(const Tensor& q, const Tensor& k, const AttentionSpec& spec = {});
  /// ln P_ij of selected pairs in all heads: scale·q_i·k_j − L_i; −∞ with gradient 0 for a hidden pair.   → [pair, head]
  /// Throws kInvalidArgument for a pair that does not exist; kUnsupported as attention_entropy (except that sink logits
  /// are allowed), and for block-sparse lists.
  Tensor attention_log_weights(const Tensor& q, const Tensor& k, const AttentionSpec& spec, const std::vector<AttentionPair>& pairs);

  /// Applies a rotary embedding: rotates the heads of x by the position of their row.   x: [rows, head, d],
  /// positions: [rows]. Throws kShape if the numbers of rows differ, kInvalidArgument for an odd number of dims or more
  /// than d.
  Tensor rotate(const Tensor& x, const std::vector<int32_t>& positions, const Rotary& how = {});
  /// Features of q and k for LinearAttention; see the functions of these names in clearhead/attend.h. The projection is
  /// a constant, not a parameter.
  Tensor elu_plus_one(const Tensor& x);
  Tensor positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift);

  /// Log-probabilities of a pointer-generator: ln(p·softmax(logits) + (1 − p)·copied), p = σ(gate) (See et al. 2017,
  /// eq. 9).   logits: [rows, vocabulary], gate: [rows, 1], copied: [rows, columns], copy probabilities, ≥ 0
  /// tokens: [sequence, column], the token that each column copies, at most once per sequence; −1: none. Each sequence
  /// has rows / sequences rows. Throws kInvalidArgument for a token beyond the vocabulary.   → [rows, vocabulary]
  Tensor pointer_mixture(const Tensor& logits, const Tensor& gate, const Tensor& copied, const std::vector<int32_t>& tokens);

  /// Mean of −log softmax(logits)[target] over rows whose target is not −100, as a scalar. `smoothing` is PyTorch's
  /// label_smoothing.   logits: [rows, classes]
  Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets, double smoothing = 0);

  /// Returns a new seed for an op with dropout, for example for Dropout in a description. It depends on Training's seed
  /// and on the number of seeds drawn before.
  uint64_t dropout_seed();

  /// Internal to the library: what the ops share (their run context, interventions, dropout seeds).
  struct State;  // src/ops/compute_state.h
  State& state() { return *state_; }

 protected:
  explicit Compute(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace clearhead
