// Implements Training: a tape records the ops of Compute, the backward pass computes gradients from it, and the optimiser updates the
// parameters.
#include <unordered_set>
#include <utility>

#include "autograd/optimiser.h"
#include "autograd/tape.h"
#include "base/random.h"
#include "clearhead/nn.h"
#include "clearhead/train.h"
#include "ops/compute_state.h"

namespace clearhead {

struct Training::Learning {
  explicit Learning(const OptimiserOptions& options) : optimiser(options) {}
  uint64_t drawn = 0;  // number of random numbers drawn for parameters
  Optimiser optimiser;
  Tape tape;
  std::unordered_set<uint64_t> adopted{};  // storage numbers of parameters

  Tensor adopt(Tensor values, std::string_view name) { return adopt(values, {{std::string(name), 0, values.numel()}}); }
  Tensor adopt(Tensor values, const std::vector<Optimiser::Named>& names) {
    adopted.insert(values.storage_number());
    if (optimiser.add(values, values.rank() > 1, names)) tape.watch(values);
    return values;
  }
};

Training::Training(uint64_t seed, const OptimiserOptions& optimiser, DType operands, Observer* observer)
    : Compute({.observer = observer, .operands = operands}), learning_(std::make_unique<Learning>(optimiser)) {
  state_->seed = seed;
  state_->run.recorder = &learning_->tape;
}
Training::~Training() = default;

Tensor Training::parameter(const Shape& shape, double std_dev, std::string_view name) {
  Tensor values = Tensor::zeros(shape);
  float* to = values.mutable_data<float>();
  for (int64_t i = 0; i < values.numel() && std_dev != 0; ++i)
    to[i] = static_cast<float>(std_dev * random_normal(state_->seed, learning_->drawn++));
  return learning_->adopt(values, name);
}

Tensor Training::parameter(const Tensor& values, std::string_view name) { return learning_->adopt(values.clone(), name); }

void Training::train(const Parameters& parameters) {
  parameters.check_all_used();
  io::NamedTensors named;
  for (const Parameters::Named& one : parameters.named()) named.emplace_back(one.name, one.values);
  for (const Tensor& leaf : parameters.leaves()) {
    if (learning_->adopted.count(leaf.storage_number()) == 0) learning_->adopt(leaf, names_in(named, leaf));
  }
}

void Training::backward(const Tensor& loss) { learning_->tape.backward(loss); }

void Training::clear() { learning_->tape.clear(); }

Tensor Training::gradient(const Tensor& parameter) const { return learning_->tape.gradient(parameter); }

double Training::step(double rate) { return learning_->optimiser.step(learning_->tape, rate); }

}  // namespace clearhead
