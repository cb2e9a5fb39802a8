// Room: train.
// Training: parameters, differentiable ops, and the optimiser step.
//
//   Training training;
//   Tensor weight = training.parameter({10, 64}, 0.1);
//   for (…) {
//     Tensor logits = training.linear(x, weight);                              // every op is recorded
//     training.step(training.cross_entropy(logits, targets), learning_rate);   // backward, then AdamW
//   }
//
// Tensors are f32. An op returns new memory. Views of a result (slice, permute, reshape) pass gradients as views.
// Results and parameters must not be written while the record holds them: backward() throws kStale and names the op. A
// clone() is a constant; it stops the gradient. Use from one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/attend.h"
#include "clearhead/spec.h"
#include "clearhead/tensor.h"

namespace clearhead {

/// Parameters with their own learning rate and weight decay (a param_group of torch.optim).
struct ParameterGroup {
  /// Regular expression, searched anywhere in a parameter's name. A parameter belongs to the first group that matches.
  std::string match{};
  double learning_rate_scale = 1;  ///< factor on the learning rate of a step; 0: frozen
  /// In place of the optimiser's weight decay; applies to these parameters whatever their number of axes.
  std::optional<double> weight_decay{};
};

/// The optimiser and its settings.
struct OptimiserOptions {
  enum class Kind : uint8_t {
    /// Adam with decoupled weight decay (Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2).
    kAdamW,
    kAdam,  ///< Adam on g + weight_decay·w (L2), as torch.optim.Adam
    /// b = momentum·b + g + weight_decay·w;  w −= learning_rate·b, as torch.optim.SGD. With `nesterov` (Sutskever
    /// et al. 2013, eq. 7): w −= learning_rate·(g + weight_decay·w + momentum·b).
    kSgd
  };
  Kind kind = Kind::kAdamW;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< for AdamW and Adam
  double momentum = 0;                                ///< for SGD, like `nesterov`
  bool nesterov = false;
  double weight_decay = 0;  ///< applied to parameters of two or more axes
  double clip = 1;          ///< maximum norm of the gradient over all parameters; 0: no clipping
  std::vector<ParameterGroup> groups{};
};

/// Learning rate schedule over steps, which count from 0. Every kind starts with a linear warm-up over `warmup` steps.
struct Schedule {
  enum class Kind : uint8_t {
    kConstant,
    kLinear,  ///< falls linearly to `min_ratio`·learning_rate at `steps`
    kCosine,  ///< falls as half a cosine to `min_ratio`·learning_rate at `steps` (Loshchilov & Hutter 2017)
    kNoam     ///< learning_rate·√(warmup/step) (Vaswani et al. 2017, §5.3)
  };
  Kind kind = Kind::kConstant;
  double learning_rate = 1e-3;
  int64_t warmup = 0, steps = 0;
  /// kConstant and kNoam: over the last `cooldown` steps the rate falls linearly to `min_ratio` of itself (Zhai
  /// et al. 2022, §3.5).
  int64_t cooldown = 0;
  double min_ratio = 0;
  double at(int64_t step) const;
};

/// Geometry of a convolution over [height, width]. Convolutions over sequences use the second number of each pair.
struct Convolution {
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  int64_t groups = 1;  ///< groups of channels; as many groups as channels: depthwise
};

/// Geometry of pooling over [height, width]. Pooling over sequences uses the second number of each pair.
struct PoolWindow {
  std::array<int64_t, 2> kernel = {1, 1};
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0};  ///< padding < kernel
};

/// Running statistics per channel of batch_norm, used in evaluation. Undefined tensors start as zeros (mean)
/// and ones (variance).
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
  /// [batch] lengths of the sequences. Later steps keep the state and read nothing. Empty: all steps are used.
  std::vector<int32_t> lengths{};
  bool backwards = false;  ///< run from the last step to the first
};

class Training {
 public:
  /// The seed determines parameters and dropout. With operands kBF16, linear() and attend() round x, weights, q, k, v
  /// and, in the backward pass, d_out to bf16; sums, results, parameters, their gradients and all other ops stay f32
  /// (Micikevicius et al. 2018, §3.1). Throws kInvalidArgument for options out of range or in conflict, kUnsupported
  /// for operands other than f32 and bf16.
  explicit Training(uint64_t seed = 1, const OptimiserOptions& optimiser = {}, DType operands = DType::kF32);
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// A new parameter, drawn from N(0, std_dev²), or zeros if std_dev is 0. ParameterGroup::match is tested on its name.
  Tensor parameter(const Shape& shape, double std_dev, std::string_view name = {});
  /// A new parameter with a copy of these values.
  Tensor parameter(const Tensor& values, std::string_view name = {});

  /// Looks up rows of a table (embedding).   table: [entries, width] → [ids, width]
  Tensor embed(const Tensor& table, const std::vector<int32_t>& ids);
  /// x·Wᵀ + b.   x: [rows, in], weight: [out, in], bias: [out] or undefined → [rows, out]
  Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
  /// Layer norm of each row: (x − mean)/√(var + 1e-5)·weight + bias. Without a bias RMS norm: x/√(mean
  /// x² + 1e-5)·weight. x: [rows, width]
  Tensor norm(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
  /// Applies an activation, by its Hugging Face name: "relu", "gelu", "gelu_new", "silu", "tanh", "sigmoid". Throws
  /// kInvalidArgument for other names.
  Tensor activate(std::string_view name, const Tensor& x);
  /// a + b, a ⊙ b, for equal shapes. Broadcast a row or a column with Tensor::expand.
  Tensor add(const Tensor& a, const Tensor& b);
  Tensor multiply(const Tensor& a, const Tensor& b);
  /// Sum, mean or maximum over an axis, which is removed. Of equal maxima the first gets the gradient. max() throws
  /// kShape for a strided x.
  Tensor sum(const Tensor& x, int axis);
  Tensor mean(const Tensor& x, int axis);
  Tensor max(const Tensor& x, int axis);
  /// Concatenates parts along an axis. The inverse is Tensor::slice.
  Tensor concat(const std::vector<Tensor>& parts, int axis);
  /// A copy in row-major order, for example to reshape a permuted view.
  Tensor contiguous(const Tensor& x) { return concat({x}, 0); }
  /// out[rows[r]] += x[r], starting from zeros.   x: [rows, width] → [entries, width]
  Tensor index_add(const Tensor& x, const std::vector<int32_t>& rows, int64_t entries);
  /// Softmax over the last axis.
  Tensor softmax(const Tensor& x);
  Tensor dropout(const Tensor& x, double rate);

  /// Convolution over images or sequences.   x: [batch, channels, height, width] or [batch, channels, length],
  /// contiguous; weight: [out, channels / groups, kernel …]; bias: [out] or undefined → [batch, out, …]
  Tensor conv(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Convolution& how = {});
  /// Maximum (of equal ones the first) or mean of each window; padding counts as zeros in a mean.   x: as in conv()
  Tensor max_pool(const Tensor& x, const PoolWindow& window);
  Tensor avg_pool(const Tensor& x, const PoolWindow& window);
  /// (x − mean)/√(variance + 1e-5)·weight + bias per channel (Ioffe & Szegedy 2015). With `training`, mean and variance
  /// are those of the batch, and the running statistics are updated. Otherwise the running statistics are used.
  /// x: [batch, channels, …], contiguous
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
  /// clearhead::attend(), with gradients for q, k, v and for those f32 operands of the description that are parameters.
  /// Returns [batch, head, query, d_v] in memory order [batch, query, head, d_v].
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {});
  /// Features of q and k for LinearAttention; see the functions of these names in clearhead/attend.h. The projection is
  /// a constant, not a parameter.
  Tensor elu_plus_one(const Tensor& x);
  Tensor positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift);

  /// Mean of −log softmax(logits)[target] over rows whose target is not −100, as one number. `smoothing` is PyTorch's
  /// label_smoothing.   logits: [rows, classes]
  Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets, double smoothing = 0);

  /// Backward pass: adds the gradients of a loss to those already there (gradient accumulation), then
  /// clears the record.
  void backward(const Tensor& loss);
  /// Clears the record without a backward pass, for example after an evaluation.
  void clear();
  /// Gradient of a parameter since the last step.
  Tensor gradient(const Tensor& parameter) const;
  /// Optimiser step: moves every parameter by its gradient and clears the gradients. Returns the gradient's norm before
  /// clipping. Throws kInvalidArgument if a gradient is not finite (nothing is changed), and at the first step for a
  /// group that matches no parameter.
  double step(double learning_rate);
  /// backward() and step().
  double step(const Tensor& loss, double learning_rate) {
    backward(loss);
    return step(learning_rate);
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clearhead
