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
  State(uint64_t of, const AdamW& options) : seed(of), optimiser(options) {}
  uint64_t seed, drawn = 0, dropped = 0;
  Optimiser optimiser;
  Tape tape;
  Arena arena;
  Run run{arena, nullptr, &tape};

  Tensor adopt(Tensor values) {
    tape.watch(values);
    optimiser.add(values, values.rank() > 1);
    return values;
  }
};

Training::Training(uint64_t seed, const AdamW& optimiser) : state_(std::make_unique<State>(seed, optimiser)) {}
Training::~Training() = default;

Tensor Training::parameter(const Shape& shape, double spread) {
  Tensor values = Tensor::zeros(shape);
  float* to = values.mutable_data<float>();
  for (int64_t i = 0; i < values.numel() && spread != 0; ++i)
    to[i] = static_cast<float>(spread * random_normal(state_->seed, state_->drawn++));
  return state_->adopt(values);
}

Tensor Training::parameter(const Tensor& values) { return state_->adopt(values.clone()); }

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

Tensor Training::dropout(const Tensor& x, double rate) {
  Tensor out = state_->run.take(x.shape());
  const uint64_t seed = random_bits(state_->seed, ~state_->dropped++);
  ops::dropout(state_->run, x, {.rate = static_cast<float>(rate), .seed = seed}, out);
  return out;
}

Tensor Training::attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  if (q.rank() != 4 || v.rank() != 4) {
    fail(ErrorCode::kShape, "attend: q is {}, v {}; expected [batch, head, length, d]", to_string(q.shape()), to_string(v.shape()));
  }
  Tensor out = state_->run.take({q.size(0), q.size(2), q.size(1), v.size(3)}).permute({0, 2, 1, 3});
  const Keys keys = k;
  ops::attention(state_->run, {Site{}, q, keys, v, spec, Tensor()}, out);
  return out;
}

Tensor Training::cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets, double smoothing) {
  return ops::cross_entropy(state_->run, logits, targets, {.smoothing = static_cast<float>(smoothing)});
}

void Training::backward(const Tensor& loss) { state_->tape.backward(loss); }

void Training::forget() { state_->tape.forget(); }

Tensor Training::gradient(const Tensor& parameter) const { return state_->tape.gradient(parameter); }

double Training::step(double rate) { return state_->optimiser.step(state_->tape, rate); }

}  // namespace clearhead
