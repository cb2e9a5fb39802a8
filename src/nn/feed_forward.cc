// Linear layers, embeddings, norms, convolutions, feed-forward layers and means, called with a Compute.
#include <cmath>

#include "base/format.h"
#include "clearhead/nn.h"
#include "nn/run.h"
#include "ops/compute_state.h"

namespace clearhead::nn {

Linear::Linear(const Scope& scope, int64_t in, int64_t out, const LinearOptions& options)
    : weight(std::make_shared<LiveWeight>(scope.parameter("weight", {out, in}, options.init))) {
  if (options.bias) bias = scope.parameter("bias", {out}, Init::zeros());
}

Linear Linear::stacked(const Scope& scope, int64_t in, const std::vector<LinearBlock>& blocks, const LinearOptions& options) {
  std::vector<Parameters::Block> weights, biases;
  for (const auto& [name, out] : blocks) {
    weights.push_back({name + ".weight", out});
    biases.push_back({name + ".bias", out});
  }
  Linear layer(std::make_shared<LiveWeight>(scope.stacked(weights, in, options.init)), {});
  if (options.bias) layer.bias = scope.stacked(biases, 0, Init::zeros());
  return layer;
}

int64_t Linear::in() const { return weight->in; }
int64_t Linear::out() const { return weight->out; }

const Tensor& Linear::values() const {
  const auto* live = dynamic_cast<const LiveWeight*>(weight.get());
  if (!live)
    fail(ErrorCode::kUnsupported, "linear: the values of a prepared weight are not available; load the model with LoadOptions::gradients");
  return live->values;
}

Tensor Linear::operator()(Compute& compute, const Tensor& x) const {
  if (x.rank() != 2) fail(ErrorCode::kShape, "linear: x is {}; expected [rows, {}]", to_string(x.shape()), in());
  Run& run = compute.state().run;
  Tensor out_rows = run.result({x.size(0), out()});
  linear(run, *this, x, out_rows);
  return out_rows;
}

Tensor Norm::operator()(Compute& compute, const Tensor& x) const {
  Run& run = compute.state().run;
  Tensor out = run.result(x.shape());
  ops::norm(run, x, normalisation_of(*this), out);
  return out;
}

Positions Positions::sinusoidal(int64_t longest, int64_t width) {
  Positions out;
  out.weight = Tensor::zeros({longest, width});
  float* to = out.weight.mutable_data<float>();
  for (int64_t i = 0; i < longest * width; ++i) {
    const int64_t position = i / width, channel = i % width, pair = channel / 2;
    const double angle = static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(pair) / static_cast<double>(width));
    to[i] = static_cast<float>(channel % 2 == 0 ? std::sin(angle) : std::cos(angle));
  }
  return out;
}

Tensor Positions::operator()(Compute& compute, const Tensor& x, const Layout& layout) const {
  layout.check("positions", x);
  if (layout.length > weight.size(0))
    fail(ErrorCode::kTooLong, "positions: the sequence length is {}; expected at most {}, the number of rows of the table", layout.length,
         weight.size(0));
  return compute.add(x, compute.embed(weight, layout.positions()));
}

LayerNorm::LayerNorm(const Scope& scope, int64_t width, double with_epsilon)
    : Norm{.weight = scope.parameter("weight", {width}, Init::ones()),
           .bias = scope.parameter("bias", {width}, Init::zeros()),
           .epsilon = with_epsilon} {}

RmsNorm::RmsNorm(const Scope& scope, int64_t width, double with_epsilon)
    : Norm{.weight = scope.parameter("weight", {width}, Init::ones()), .epsilon = with_epsilon, .is_rms = true} {}

BatchNorm::BatchNorm(const Scope& scope, int64_t channels, double momentum)
    : weight(scope.parameter("weight", {channels}, Init::ones())),
      bias(scope.parameter("bias", {channels}, Init::zeros())),
      running{scope.buffer("running_mean", {channels}, Init::zeros()), scope.buffer("running_var", {channels}, Init::ones()), momentum} {}

Tensor BatchNorm::operator()(Compute& compute, const Tensor& x) const {
  RunningStatistics shared = running;  // the copy shares its tensors, so updates reach `running`
  return compute.batch_norm(x, weight, bias, shared);
}

Conv::Conv(const Scope& scope, int64_t in, int64_t out, const Shape& kernel, const ConvOptions& options) : how(options.how) {
  if ((kernel.size() != 1 && kernel.size() != 2) || how.groups < 1 || in % how.groups != 0) {
    fail(ErrorCode::kInvalidArgument,
         "convolution \"{}\": the kernel is {}, with {} channels in {} groups; expected {{height, width}} or {{length}}, and equal groups",
         scope.path(), to_string(kernel), in, how.groups);
  }
  Shape shape = {out, in / how.groups};
  shape.insert(shape.end(), kernel.begin(), kernel.end());
  weight = scope.parameter("weight", shape, options.init);
  if (options.bias) bias = scope.parameter("bias", {out}, Init::zeros());
}

FeedForward::FeedForward(const Scope& scope, int64_t width, int64_t inner_width, const FeedForwardOptions& options)
    : is_gated(options.gated), dropout(options.dropout) {
  const std::optional<Activation> known = activation_from(options.activation);
  if (!known) {
    fail(ErrorCode::kInvalidArgument,
         "feed-forward block \"{}\": activation \"{}\" is not known; expected relu, gelu, gelu_new, silu, tanh or sigmoid", scope.path(),
         options.activation);
  }
  activation = *known;
  const LinearOptions linear{options.bias, options.init};
  up = is_gated ? Linear::stacked(scope, width, {{"gate", inner_width}, {"up", inner_width}}, linear)
                : Linear(scope / "up", width, inner_width, linear);
  down = Linear(scope / "down", inner_width, width, linear);
}

Tensor FeedForward::operator()(Compute& compute, const Tensor& x) const {
  if (x.rank() != 2) fail(ErrorCode::kShape, "feed-forward block: x is {}; expected [rows, {}]", to_string(x.shape()), up.in());
  Run& run = compute.state().run;
  const Arena::Scope scope(run.arena);
  Tensor out = run.result({x.size(0), down.out()});
  Tensor raised = run.take({x.size(0), up.out()}), gated = is_gated ? run.take({x.size(0), down.in()}) : Tensor();
  Tensor inner = inner_activations(run, *this, x, raised, gated);
  if (dropout > 0) inner = compute.dropout(inner, dropout);  // not at rate 0: drawing a seed would change those of later ops
  linear(run, down, inner, out);
  return out;
}

Tensor mean(Compute& compute, const Tensor& x, const Layout& layout) {
  layout.check("mean", x);
  const Shape whole = {layout.batch, layout.length, x.size(1)};
  if (layout.lengths.empty()) return compute.mean(x.reshape(whole), 1);
  Tensor shares = Tensor::zeros({layout.batch, layout.length, 1});  // 1/length of each step that is not padding
  float* to = shares.mutable_data<float>();
  for (int64_t b = 0; b < layout.batch; ++b) {
    const int32_t length = layout.lengths[static_cast<size_t>(b)];
    if (length > 0) std::fill_n(to + b * layout.length, length, 1 / static_cast<float>(length));
  }
  return compute.sum(compute.multiply(x.reshape(whole), shares.expand(whole)), 1);
}

}  // namespace clearhead::nn
