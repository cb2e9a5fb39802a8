// Room: train.
// Training: parameters, what is computed with them, and the step that improves them.
//
//   Training training;
//   Tensor weight = training.parameter({10, 64}, 0.1);
//   for (…) {
//     Tensor logits = training.linear(x, weight);                  // every op is recorded, attention in every description
//     training.step(training.cross_entropy(logits, targets), learning_rate);   // backward through all of it, a step of AdamW, and the record is gone
//   }
//
// Tensors are f32. What an op returns shares memory with nothing but its record; a view (slice, permute, reshape) of it takes part in gradients as the view
// it is. Results and parameters must not be written while a record holds them: the backward pass throws kStale and names the op.
// A clone() of a tensor is a constant: a gradient stops there.
// One thread at a time.
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

/// Parameters with a learning rate and a weight decay of their own.
struct ParameterGroup {
  std::string match{};             ///< a regular expression, found anywhere in a parameter's name; the first group that matches has it
  double learning_rate_scale = 1;  ///< times the learning rate of the step; 0: these are frozen
  std::optional<double> weight_decay{};  ///< in place of the optimiser's, and of these parameters whatever their axes
};

/// How parameters move by their gradients.
struct OptimiserOptions {
  enum class Kind : uint8_t {
    kAdamW,  ///< Adam with decoupled weight decay (Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2)
    kAdam,   ///< Adam over g + weight_decay·w (L2), as torch.optim.Adam
    kSgd  ///< b = momentum·b + g + weight_decay·w;  w −= learning_rate·b, as torch.optim.SGD; Nesterov's (Sutskever et al. 2013, eq. 7): w −= learning_rate·(g + weight_decay·w + momentum·b)
  };
  Kind kind = Kind::kAdamW;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< of AdamW and Adam
  double momentum = 0;                                ///< of SGD, as `nesterov`
  bool nesterov = false;
  double weight_decay = 0;  ///< of parameters of two axes and more
  double clip = 1;          ///< most that the gradient's norm over all parameters may be; 0: any
  std::vector<ParameterGroup> groups{};
};

/// Learning rates over steps, which count from 0; each rises linearly over `warmup` steps first.
struct Schedule {
  enum class Kind : uint8_t {
    kConstant,
    kLinear,  ///< to `min_ratio`·learning_rate at `steps`
    kCosine,  ///< to `min_ratio`·learning_rate at `steps`, along half a cosine (Loshchilov & Hutter 2017)
    kNoam     ///< learning_rate·√(warmup/step) (Vaswani et al. 2017, §5.3)
  };
  Kind kind = Kind::kConstant;
  double learning_rate = 1e-3;
  int64_t warmup = 0, steps = 0;
  int64_t cooldown =
      0;  ///< last steps, over which a constant or Noam rate falls in a line to `min_ratio` of itself (Zhai et al. 2022, §3.5)
  double min_ratio = 0;
  double at(int64_t step) const;
};

/// How windows of a convolution lie, over [height, width]; over sequences the second of each.
struct Convolution {
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
  int64_t groups = 1;  ///< of channels, each apart; as many as channels: by depth
};

/// Windows of a pooling, over [height, width]; over sequences the second of each.
struct PoolWindow {
  std::array<int64_t, 2> kernel = {1, 1};
  std::array<int64_t, 2> stride = {1, 1}, padding = {0, 0};  ///< padding < kernel
};

/// Statistics by channel of all batches so far, which evaluation normalises by. New ones are zeros and ones.
struct RunningStatistics {
  Tensor mean{}, variance{};  ///< [channels]; the variance is over n − 1
  double momentum = 0.1;      ///< share of the newest batch
};

/// One direction of a recurrent layer, in PyTorch's layout: gates r, z, n of a GRU and i, f, g, o of an LSTM, one below the other.
struct Recurrence {
  Tensor input_weight{};               ///< [gates·hidden, in]
  Tensor hidden_weight{};              ///< [gates·hidden, hidden]
  Tensor input_bias{}, hidden_bias{};  ///< [gates·hidden], or undefined
  Tensor state{}, cell{};              ///< [batch, hidden], before the first step; undefined: zeros
  std::vector<int32_t> lengths{};      ///< [batch]: steps past them keep the state and read nothing; empty: all of time
  bool backwards = false;              ///< from the last step to the first
};

class Training {
 public:
  /// The seed draws parameters and dropout. With operands kBF16, linear and attend read x, weights, q, k and v rounded to bf16, and d_out backwards; sums,
  /// results, parameters, their gradients and every other op are f32 (Micikevicius et al. 2018, §3.1). Throws kInvalidArgument for options that are out of
  /// range or do not go together, kUnsupported for operands that are neither f32 nor bf16.
  explicit Training(uint64_t seed = 1, const OptimiserOptions& optimiser = {}, DType operands = DType::kF32);
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// A parameter drawn from N(0, std_dev²); zeros where std_dev is 0. Groups know it by its name.
  Tensor parameter(const Shape& shape, double std_dev, std::string_view name = {});
  /// A parameter that begins at these values.
  Tensor parameter(const Tensor& values, std::string_view name = {});

  /// Rows of a table.   [entries, width] → [ids, width]
  Tensor embed(const Tensor& table, const std::vector<int32_t>& ids);
  /// x·Wᵀ + b.   x: [rows, in], weight: [out, in], bias: [out] or undefined → [rows, out]
  Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
  /// (x − mean)/√(var + 1e-5)·weight + bias by rows; without a bias x/√(mean x² + 1e-5)·weight.   x: [rows, width]
  Tensor norm(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
  /// By Hugging Face's names: "relu", "gelu", "gelu_new", "silu", "tanh", "sigmoid".
  Tensor activate(std::string_view name, const Tensor& x);
  /// a + b, a ⊙ b.   One shape: a row or a column takes part as Tensor::expand broadcasts it.
  Tensor add(const Tensor& a, const Tensor& b);
  Tensor multiply(const Tensor& a, const Tensor& b);
  /// The sum, the mean, the largest element (of equals the first) over an axis, which goes.
  Tensor sum(const Tensor& x, int axis);
  Tensor mean(const Tensor& x, int axis);
  Tensor max(const Tensor& x, int axis);
  /// The parts one after another along an axis. What takes apart again is Tensor::slice.
  Tensor concat(const std::vector<Tensor>& parts, int axis);
  /// A copy in row-major order: of a permuted view, so that it can be reshaped.
  Tensor contiguous(const Tensor& x) { return concat({x}, 0); }
  /// out[rows[r]] += x[r] over zeros.   [rows, width] → [entries, width]
  Tensor index_add(const Tensor& x, const std::vector<int32_t>& rows, int64_t entries);
  /// Over the last axis.
  Tensor softmax(const Tensor& x);
  Tensor dropout(const Tensor& x, double rate);

  /// Convolution over planes or sequences.   x: [batch, channels, height, width] or [batch, channels, length], weight: [out, channels / groups, kernel …],
  /// bias: [out] or undefined → [batch, out, …]; contiguous
  Tensor conv(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, const Convolution& how = {});
  /// The largest element (of equals the first) or the mean of each window; in a mean padding counts as zeros.   x: as of conv.
  Tensor max_pool(const Tensor& x, const PoolWindow& window);
  Tensor avg_pool(const Tensor& x, const PoolWindow& window);
  /// (x − mean)/√(variance + 1e-5)·weight + bias by channels over all the rest: of this batch, which moves the running statistics along; without `training`
  /// the running ones (Ioffe & Szegedy 2015).   x: [batch, channels, …], contiguous
  Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, RunningStatistics& running, bool training = true);

  /// The states of all steps of a gated recurrent unit (Cho et al. 2014, the reset gate after the product, as in PyTorch): forwards the last is at the end of
  /// time, backwards at its beginning.   x: [batch, time, in], contiguous → [batch, time, hidden]
  Tensor gru(const Tensor& x, const Recurrence& layer);
  struct LstmStates {
    Tensor state{}, cell{};  ///< [batch, time, hidden] each
  };
  /// The same of a long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).
  LstmStates lstm(const Tensor& x, const Recurrence& layer);
  /// As clearhead::attend(); gradients of the description's f32 operands too where they are parameters.
  /// Returns [batch, head, query, d_v] over memory of [batch, query, head, d_v].
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec = {});
  /// Features of q and k for LinearAttention, as the functions of these names (clearhead/attend.h). The projection is drawn, not trained.
  Tensor elu_plus_one(const Tensor& x);
  Tensor positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift);

  /// The mean of −log softmax(logits)[target] over rows whose target is not −100, as one number.   logits: [rows, classes]
  Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets, double smoothing = 0);

  /// Adds the gradients of a loss to what is there, and clears what was recorded.
  void backward(const Tensor& loss);
  /// Clears what was recorded: after computing something that is not to be learnt from.
  void clear();
  /// Of a parameter since the last step.
  Tensor gradient(const Tensor& parameter) const;
  /// Moves every parameter by the gradients that are there and clears them. Returns the gradient's norm before clipping. The first step throws
  /// kInvalidArgument for a group that matches no parameter.
  double step(double learning_rate);
  /// backward and step.
  double step(const Tensor& loss, double learning_rate) {
    backward(loss);
    return step(learning_rate);
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clearhead
