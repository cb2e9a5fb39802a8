// A leaf's gradient is added as soon as the tape has finished it (tree_sum over micro-batches), and sent in messages of at least
// 1 MiB while the backward pass continues.
#include "train/step_gradient.h"

#include <cstring>
#include <utility>

#include "ops/ops.h"

namespace clearhead::train {
namespace {

constexpr size_t kMessageBytes = size_t{1} << 20;  // smaller sums are collected until a message has this size

}  // namespace

StepGradient::StepGradient(Tape& tape, Comm& comm, std::vector<Tensor> leaves, int64_t micro_batches)
    : tape_(tape), comm_(comm), leaves_(std::move(leaves)), micro_batches_(micro_batches) {
  for (size_t at = 0; at < leaves_.size(); ++at) by_storage_[leaves_[at].storage_number()] = at;
  if (micro_batches_ == 1 && comm_.size() == 1) return;
  tape_.on_settled([this](uint64_t storage) { settled(by_storage_.at(storage)); });
}

void StepGradient::begin(int64_t at) {
  part_ = at;
  if (at > 0) tape_.clear_gradients();
}

void StepGradient::settled(size_t leaf) {
  const Tensor gradient = tape_.gradient(leaves_[leaf]);
  const auto merge = [&](int level) {
    Tensor to = gradient;
    ops::add_strided(levels_[static_cast<size_t>(level)][leaf], to, true);
  };
  const auto keep = [&](int level) {
    const auto at = static_cast<size_t>(level);
    if (levels_.size() <= at) levels_.resize(at + 1, std::vector<Tensor>(leaves_.size()));
    Tensor& kept = levels_[at][leaf];
    if (!kept.defined()) kept = Tensor::empty(gradient.shape());
    std::memcpy(kept.mutable_raw(), gradient.raw(), gradient.bytes());
  };
  tree_sum(part_, micro_batches_, merge, keep);
  if (part_ + 1 < micro_batches_ || comm_.size() == 1) return;
  ready_.push_back(gradient);
  ready_bytes_ += gradient.bytes();
  if (ready_bytes_ >= kMessageBytes) send();
}

void StepGradient::send() {
  comm_.sum(std::exchange(ready_, {}));
  ready_bytes_ = 0;
}

void StepGradient::finish() {
  if (!ready_.empty()) send();
  comm_.wait();
}

}  // namespace clearhead::train
