// The public face of the tape: each op takes memory for its result, lets src/ops compute and record.
#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/tape.h"
#include "base/format.h"
#include "base/random.h"
#include "clearhead/train.h"
#include "ops/ops.h"
#include "train/optimiser.h"

namespace clearhead {

struct Training::State {
  State(uint64_t of, const OptimiserOptions& options, DType operands) : seed(of), optimiser(options) {
    if (operands != DType::kF32 && operands != DType::kBF16)
      fail(ErrorCode::kUnsupported, "training: operands of {}; expected f32 or bf16", to_string(operands));
    run.operands = operands;
  }
  uint64_t seed, drawn = 0, dropped = 0;
  Optimiser optimiser;
  Tape tape;
  Arena arena;
  Run run{arena, nullptr, &tape};

  Tensor adopt(Tensor values, std::string_view name) {
    tape.watch(values);
    optimiser.add(values, values.rank() > 1, {{std::string(name), 0, values.numel()}});
    return values;
  }
  Tensor reduce(ops::Reduction reduction, const Tensor& x, int axis);
  Tensor pool(const Tensor& x, const ops::Pooling& how);
};

Training::Training(uint64_t seed, const OptimiserOptions& optimiser, DType operands)
    : state_(std::make_unique<State>(seed, optimiser, operands)) {}
Training::~Training() = default;

Tensor Training::parameter(const Shape& shape, double std_dev, std::string_view name) {
  Tensor values = Tensor::zeros(shape);
  float* to = values.mutable_data<float>();
  for (int64_t i = 0; i < values.numel() && std_dev != 0; ++i)
    to[i] = static_cast<float>(std_dev * random_normal(state_->seed, state_->drawn++));
  return state_->adopt(values, name);
}

Tensor Training::parameter(const Tensor& values, std::string_view name) { return state_->adopt(values.clone(), name); }

Tensor Training::embed(const Tensor& table, const std::vector<int32_t>& ids) {
  if (table.rank() != 2) fail(ErrorCode::kShape, "embed: the table is {}; expected [entries, width]", to_string(table.shape()));
  Tensor out = state_->run.take({static_cast<int64_t>(ids.size()), table.size(1)});
  ops::gather_rows(state_->run, table, ids, out);
  return out;
}

Tensor Training::linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (x.rank() != 2 || weight.rank() != 2) {
    fail(ErrorCode::kShape, "linear: x is {}, the weight {}; expected [rows, in] and [out, in]", to_string(x.shape()),
         to_string(weight.shape()));
  }
  Tensor out = state_->run.take({x.size(0), weight.size(0)});
  ops::linear(state_->run, x, LiveWeight(weight), bias, out);
  return out;
}

Tensor Training::norm(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tensor out = state_->run.take(x.shape());
  ops::norm(state_->run, x, {.rms = !bias.defined(), .epsilon = 1e-5, .weight = weight, .bias = bias}, out);
  return out;
}

Tensor Training::activate(std::string_view name, const Tensor& x) {
  const std::optional<Activation> activation = activation_from(name);
  if (!activation) {
    fail(ErrorCode::kInvalidArgument, "activate: \"{}\" is not known; expected relu, gelu, gelu_new, silu, tanh or sigmoid",
         std::string(name));
  }
  Tensor out = state_->run.take(x.shape());
  ops::activate(state_->run, *activation, x, out);
  return out;
}

Tensor Training::add(const Tensor& a, const Tensor& b) {
  Tensor out = state_->run.take(a.shape());
  ops::copy(state_->run, a, out);
  ops::add(state_->run, b, out);
  return out;
}

Tensor Training::multiply(const Tensor& a, const Tensor& b) {
  Tensor out = state_->run.take(a.shape());
  ops::multiply(state_->run, a, b, out);
  return out;
}

Tensor Training::State::reduce(ops::Reduction reduction, const Tensor& x, int axis) {
  x.size(axis);  // refuses an axis that is not there
  Shape shape = x.shape();
  shape.erase(shape.begin() + (axis < 0 ? axis + x.rank() : axis));
  Tensor out = run.take(shape);
  ops::reduce(run, reduction, x, axis, out);
  return out;
}

Tensor Training::sum(const Tensor& x, int axis) { return state_->reduce(ops::Reduction::kSum, x, axis); }
Tensor Training::mean(const Tensor& x, int axis) { return state_->reduce(ops::Reduction::kMean, x, axis); }
Tensor Training::max(const Tensor& x, int axis) { return state_->reduce(ops::Reduction::kMax, x, axis); }

Tensor Training::concat(const std::vector<Tensor>& parts, int axis) {
  if (parts.empty()) fail(ErrorCode::kShape, "concat: no parts; expected at least one");
  parts.front().size(axis);  // refuses an axis that is not there
  Shape shape = parts.front().shape();
  for (size_t part = 1; part < parts.size(); ++part) {
    shape[static_cast<size_t>(axis < 0 ? axis + parts.front().rank() : axis)] += parts[part].size(axis);
  }
  Tensor out = state_->run.take(shape);
  ops::concat(state_->run, parts, axis, out);
  return out;
}

Tensor Training::index_add(const Tensor& x, const std::vector<int32_t>& rows, int64_t entries) {
  if (x.rank() != 2) fail(ErrorCode::kShape, "index_add: x is {}; expected [rows, width]", to_string(x.shape()));
  Tensor out = state_->run.take({entries, x.size(1)});
  ops::index_add(state_->run, x, rows, out);
  return out;
}

Tensor Training::softmax(const Tensor& x) {
  Tensor out = state_->run.take(x.shape());
  ops::softmax(state_->run, x, out);
  return out;
}

Tensor Training::dropout(const Tensor& x, double rate) {
  Tensor out = state_->run.take(x.shape());
  const uint64_t seed = random_bits(state_->seed, ~state_->dropped++);
  ops::dropout(state_->run, x, {.rate = static_cast<float>(rate), .seed = seed}, out);
  return out;
}

namespace {

// A sequence as a plane of height 1; what comes of it as a sequence again.
Tensor plane_of(const char* op, const Tensor& x) {
  if (x.rank() == 4) return x;
  if (x.rank() != 3) {
    fail(ErrorCode::kShape, "{}: found {}; expected [batch, channels, height, width] or [batch, channels, length]", op,
         to_string(x.shape()));
  }
  return x.reshape({x.size(0), x.size(1), 1, x.size(2)});
}

Tensor like(const Tensor& x, const Tensor& out) { return x.rank() == 4 ? out : out.reshape({out.size(0), out.size(1), out.size(3)}); }

ops::Recurrence described(const Recurrence& layer) {
  return {layer.input_weight, layer.hidden_weight, layer.input_bias, layer.hidden_bias,
          layer.state,        layer.cell,          layer.lengths,    layer.backwards};
}

// [batch, time, hidden] of a recurrence.
Shape states_shape(const Tensor& x, const Recurrence& layer) {
  if (x.rank() != 3 || layer.hidden_weight.rank() != 2) {
    fail(ErrorCode::kShape, "recurrence: x is {}, the hidden state's weight {}; expected [batch, time, in] and [gates·hidden, hidden]",
         to_string(x.shape()), to_string(layer.hidden_weight.shape()));
  }
  return {x.size(0), x.size(1), layer.hidden_weight.size(1)};
}

}  // namespace

Tensor Training::conv(const Tensor& x, const Tensor& weight, const Tensor& bias, const Convolution& how) {
  const Tensor planes = plane_of("convolution", x), weights = plane_of("convolution's weight", weight);
  const ops::Convolution described{how.stride, how.padding, how.dilation, how.groups};
  Tensor out = state_->run.take(ops::convolved_shape(planes, weights, described));
  ops::conv(state_->run, planes, weights, bias, described, out);
  return like(x, out);
}

Tensor Training::State::pool(const Tensor& x, const ops::Pooling& how) {
  const Tensor planes = plane_of("pooling", x);
  Tensor out = run.take(ops::pooled_shape(planes, how));
  ops::pool(run, planes, how, out);
  return like(x, out);
}

Tensor Training::max_pool(const Tensor& x, const PoolWindow& window) {
  return state_->pool(x, {true, window.kernel, window.stride, window.padding});
}

Tensor Training::avg_pool(const Tensor& x, const PoolWindow& window) {
  return state_->pool(x, {false, window.kernel, window.stride, window.padding});
}

Tensor Training::batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, RunningStatistics& running, bool training) {
  if (!running.mean.defined() && x.rank() > 1) {
    running.mean = Tensor::zeros({x.size(1)});
    running.variance = Tensor::from(std::vector<float>(static_cast<size_t>(x.size(1)), 1.0F), {x.size(1)});
  }
  Tensor out = state_->run.take(x.shape());
  ops::batch_norm(state_->run, x, {weight, bias, running.mean, running.variance, training, running.momentum}, out);
  return out;
}

Tensor Training::gru(const Tensor& x, const Recurrence& layer) {
  Tensor out = state_->run.take(states_shape(x, layer));
  ops::recurrent(state_->run, RecurrentKind::kGru, x, described(layer), out);
  return out;
}

Training::LstmStates Training::lstm(const Tensor& x, const Recurrence& layer) {
  Shape shape = states_shape(x, layer);
  shape.insert(shape.begin(), 2);
  Tensor out = state_->run.take(shape);
  ops::recurrent(state_->run, RecurrentKind::kLstm, x, described(layer), out);
  return {out.select(0, 0), out.select(0, 1)};
}

Tensor Training::attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  if (q.rank() != 4 || v.rank() != 4) {
    fail(ErrorCode::kShape, "attend: q is {}, v {}; expected [batch, head, length, d]", to_string(q.shape()), to_string(v.shape()));
  }
  Run& run = state_->run;
  const Tensor out = run.take({q.size(0), q.size(2), q.size(1), v.size(3)}, run.operands);
  Tensor by_head = out.permute({0, 2, 1, 3});
  const Keys keys = ops::rounded(run, k);
  ops::attention(run, {Site{}, ops::rounded(run, q), keys, ops::rounded(run, v), spec, Tensor()}, by_head);
  return ops::widened(run, out).permute({0, 2, 1, 3});
}

Tensor Training::elu_plus_one(const Tensor& x) {
  Tensor out = state_->run.take(x.shape());
  ops::elu_plus_one(state_->run, x, out);
  return out;
}

Tensor Training::positive_random_features(const Tensor& x, const Tensor& projection, FeatureShift shift) {
  if (x.rank() != 4 || projection.rank() != 2) {
    fail(ErrorCode::kShape, "positive_random_features: x is {}, the projection {}; expected [batch, head, length, d] and [features, d]",
         to_string(x.shape()), to_string(projection.shape()));
  }
  Tensor out = state_->run.take({x.size(0), x.size(1), x.size(2), projection.size(0)});
  ops::positive_random_features(state_->run, x, projection, shift, out);
  return out;
}

Tensor Training::cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets, double smoothing) {
  return ops::cross_entropy(state_->run, logits, targets, {.smoothing = static_cast<float>(smoothing)});
}

void Training::backward(const Tensor& loss) { state_->tape.backward(loss); }

void Training::clear() { state_->tape.clear(); }

Tensor Training::gradient(const Tensor& parameter) const { return state_->tape.gradient(parameter); }

double Training::step(double rate) { return state_->optimiser.step(state_->tape, rate); }

}  // namespace clearhead
