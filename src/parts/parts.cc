// Linear layers, embeddings, norms, convolutions, feed-forward layers and means.
#include <cmath>

#include "base/format.h"
#include "clearhead/parts.h"

namespace clearhead::parts {

Linear::Linear(const Scope& scope, int64_t in, int64_t out, const LinearOptions& options)
    : weight(scope.parameter("weight", {out, in}, options.init)) {
  if (options.bias) bias = scope.parameter("bias", {out}, Init::zeros());
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
    fail(ErrorCode::kTooLong, "positions: sequences of {}; expected at most {}, the rows of the table", layout.length, weight.size(0));
  return compute.add(x, compute.embed(weight, layout.positions()));
}

LayerNorm::LayerNorm(const Scope& scope, int64_t width, double with_epsilon)
    : weight(scope.parameter("weight", {width}, Init::ones())),
      bias(scope.parameter("bias", {width}, Init::zeros())),
      epsilon(with_epsilon) {}

RmsNorm::RmsNorm(const Scope& scope, int64_t width, double with_epsilon)
    : weight(scope.parameter("weight", {width}, Init::ones())), epsilon(with_epsilon) {}

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
         "convolution \"{}\": a kernel of {}, {} channels in {} groups; expected {{height, width}} or {{length}}, and equal groups",
         scope.path(), to_string(kernel), in, how.groups);
  }
  Shape shape = {out, in / how.groups};
  shape.insert(shape.end(), kernel.begin(), kernel.end());
  weight = scope.parameter("weight", shape, options.init);
  if (options.bias) bias = scope.parameter("bias", {out}, Init::zeros());
}

FeedForward::FeedForward(const Scope& scope, int64_t width, int64_t inner, const FeedForwardOptions& options)
    : up(scope / "up", width, inner, {options.bias, options.init}), activation(options.activation), dropout(options.dropout) {
  if (options.gated) gate = Linear(scope / "gate", width, inner, {options.bias, options.init});
  down = Linear(scope / "down", inner, width, {options.bias, options.init});
}

Tensor FeedForward::operator()(Compute& compute, const Tensor& x) const {
  const Tensor raised = up(compute, x);
  Tensor inner = compute.activate(activation, gate.weight.defined() ? gate(compute, x) : raised);
  if (gate.weight.defined()) inner = compute.multiply(inner, raised);
  if (dropout > 0) inner = compute.dropout(inner, dropout);
  return down(compute, inner);
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

}  // namespace clearhead::parts
