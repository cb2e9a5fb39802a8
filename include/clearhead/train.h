// Implemented in src/autograd.
// Training: parameters, the ops of compute.h with recording for the backward pass, and the optimiser step.
//
//   Training training;
//   Tensor weight = training.parameter({10, 64}, 0.1);
//   for (…) {
//     Tensor logits = training.linear(x, weight);                              // every op is recorded
//     training.step(training.cross_entropy(logits, targets), learning_rate);   // backward, then AdamW
//   }
//
// Tensors are f32. An op returns new memory. Gradients flow through views of a result (slice, permute, reshape). Results
// and parameters must not be written while they are recorded: backward() then throws kStale and names the op. A clone()
// is a constant and stops the gradient. Use a Training from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/compute.h"
#include "clearhead/tensor.h"

namespace clearhead {

class Parameters;

/// Parameters with their own learning rate and weight decay (a param_group of torch.optim).
struct ParameterGroup {
  /// Regular expression, searched anywhere in a parameter's name. A parameter belongs to the first group that matches.
  std::string match{};
  double learning_rate_scale = 1;  ///< factor on the learning rate of a step; 0: frozen
  /// Replaces the optimiser's weight decay, and applies to these parameters for any number of axes.
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
  double weight_decay = 0;  ///< applied to parameters with two or more axes
  double clip = 1;          ///< maximum norm of the gradient over all parameters; 0: no clipping
  std::vector<ParameterGroup> groups{};
};

/// Learning rate schedule over steps, counted from 0. Every kind starts with a linear warm-up over `warmup` steps.
struct Schedule {
  enum class Kind : uint8_t {
    kConstant,
    kLinear,  ///< decays linearly to `min_ratio`·learning_rate at `steps`
    kCosine,  ///< decays as half a cosine to `min_ratio`·learning_rate at `steps` (Loshchilov & Hutter 2017)
    kNoam     ///< learning_rate·√(warmup/(step + 1)) after the warm-up (Vaswani et al. 2017, §5.3)
  };
  Kind kind = Kind::kConstant;
  double learning_rate = 1e-3;
  int64_t warmup = 0, steps = 0;
  /// kConstant and kNoam: over the last `cooldown` steps the rate decays linearly to `min_ratio` of itself (Zhai et al.
  /// 2022, §3.5).
  int64_t cooldown = 0;
  double min_ratio = 0;
  /// The learning rate of a step.
  double at(int64_t step) const;
};

/// The ops of Compute, recorded.
class Training : public Compute {
 public:
  /// The seed determines parameters and dropout. With operands kBF16, linear() and attend() round x, weights, q, k, v
  /// and, in the backward pass, d_out to bf16; sums, results, parameters, their gradients and all other ops stay f32
  /// (Micikevicius et al. 2018, §3.1). The observer receives attention calls with a site, as in ComputeOptions.
  /// Throws kInvalidArgument for options that are out of range or in conflict, kUnsupported for operands other than f32
  /// and bf16.
  explicit Training(uint64_t seed = 1, const OptimiserOptions& optimiser = {}, DType operands = DType::kF32, Observer* observer = nullptr);
  ~Training() override;

  bool is_training() const override { return true; }

  /// A new parameter, drawn from N(0, std_dev²), or zeros if std_dev is 0. ParameterGroup::match is applied to its name.
  Tensor parameter(const Shape& shape, double std_dev, std::string_view name = {});
  /// A new parameter with a copy of these values.
  Tensor parameter(const Tensor& values, std::string_view name = {});

  /// Adds all parameters that are not buffers to those that are trained; ParameterGroup::match is applied to their names.
  /// Parameters that are already trained are left as they are. Throws as Parameters::check_all_used().
  void train(const Parameters& parameters);

  /// Backward pass: adds the gradients of a loss to the existing ones (gradient accumulation), then discards the
  /// recorded ops.
  void backward(const Tensor& loss);
  /// Discards the recorded ops without a backward pass, for example after an evaluation.
  void clear();
  /// Gradient of a parameter accumulated since the last step. Throws kInvalidArgument for a parameter that a group freezes.
  Tensor gradient(const Tensor& parameter) const;
  /// Optimiser step: updates every parameter by its gradient and clears the gradients. Returns the gradient's norm before
  /// clipping. Throws kInvalidArgument if a gradient is not finite (nothing is changed), and at the first step for a
  /// group that matches no parameter.
  double step(double learning_rate);
  /// backward() and step().
  double step(const Tensor& loss, double learning_rate) {
    backward(loss);
    return step(learning_rate);
  }

 private:
  struct Learning;
  std::unique_ptr<Learning> learning_;
};

}  // namespace clearhead
