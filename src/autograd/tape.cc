// The backward pass starts at a loss of one element and reverses the entries from last to first. The gradient of a storage
// returns to the pool when the op that first wrote the storage is reversed. A checkpoint runs its ops again; they are recorded
// in its place on the tape.
#include "autograd/tape.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

// True if t covers all elements of its storage, in order.
bool is_whole(const Tensor& t) { return t.is_contiguous() && t.numel() == t.storage_elements(); }

bool is_finite(const Tensor& t) {
  const Tensor values = t.contiguous();
  return std::all_of(values.data<float>(), values.data<float>() + values.numel(), [](float value) { return std::isfinite(value); });
}

}  // namespace

void Tape::watch(const Tensor& leaf) {
  if (!leaf.defined() || leaf.dtype() != DType::kF32 || leaf.storage_elements() == 0) {
    fail(ErrorCode::kUnsupported, "tape: cannot watch this tensor; expected an f32 tensor with its own memory, found {}",
         leaf.defined() ? std::string(to_string(leaf.dtype())) + " " + to_string(leaf.shape()) : "no tensor");
  }
  Slot& slot = slots_[leaf.storage_number()];
  if (!slot.is_leaf) leaves_.push_back(leaf.storage_number());
  slot.is_leaf = true;
  length_ = 0;
}

void Tape::record(const char* op, const Tensor& out, const std::vector<Tensor>& kept, Reverse reverse) {
  if (checks_ && !is_finite(out)) fail(ErrorCode::kInvalidArgument, "op {} ({}) gave a value that is not finite", ops_, op);
  ++ops_;
  if (passing_) {
    if (slots_.emplace(out.storage_number(), Slot{}).second) passing_->push_back(out.storage_number());
    return;
  }
  Entry entry{op, shadow_of(out), {}, std::move(reverse), false};
  for (const Tensor& tensor : kept) {
    if (tensor.defined()) entry.kept.push_back({tensor, tensor.version()});
  }
  entry.first = slots_.emplace(out.storage_number(), Slot{}).second;
  entries_.push_back(std::move(entry));
}

void Tape::checkpoint(Tensor& x, const std::function<void()>& body) {
  if (passing_ || !wants(x)) return body();
  Tensor before = pool_.take(x.shape());
  std::memcpy(before.mutable_raw(), x.raw(), x.bytes());
  passing_.emplace();
  const auto end = [&] {
    for (const uint64_t number : *passing_) slots_.erase(number);
    passing_.reset();
  };
  try {
    body();
  } catch (...) {
    end();
    throw;
  }
  end();
  entries_.push_back({"checkpoint", shadow_of(x), {{before, before.version()}}, [=](Gradients&) mutable {
                        std::memcpy(x.mutable_raw(), before.raw(), x.bytes());
                        body();
                      }});
}

void Tape::backward(const Tensor& loss) {
  if (loss.numel() != 1 || !wants(loss)) {
    fail(ErrorCode::kInvalidArgument, "tape: a backward pass starts at a recorded loss of one element; found shape {}{}",
         to_string(loss.shape()), wants(loss) ? "" : ", and it does not depend on a watched tensor");
  }
  const size_t length = entries_.size();
  plan(length);
  *of(loss).mutable_data<float>() = 1;
  while (!entries_.empty()) {
    settle();
    const Entry entry = std::move(entries_.back());
    entries_.pop_back();
    ++reversed_;
    const uint64_t number = entry.out.storage_number();
    const bool reached = slots_[number].filled;
    for (const Kept& kept : entry.kept) {
      if (reached && kept.tensor.version() != kept.version) {
        fail(ErrorCode::kStale, "tape: op {} ({}) needs a tensor of shape {} that was modified after the op ran", recorded(), entry.op,
             to_string(kept.tensor.shape()));
      }
    }
    written_.clear();
    if (reached) entry.reverse(*this);
    if (checks_) check_gradients(entry.op);
    if (entry.first && !slots_[number].is_leaf) slots_.erase(number);
  }
  settle();
  if (heard_ && length != length_) {
    for (const uint64_t leaf : leaves_) heard_(leaf);
  }
  length_ = length;
  ops_ = 0;
  for (const uint64_t leaf : leaves_) slots_[leaf].settles = slots_[leaf].touched;
}

void Tape::plan(size_t length) {
  settling_.clear();
  reversed_ = 0;
  if (heard_ && length == length_) {
    settling_.assign(leaves_.rbegin(), leaves_.rend());
    std::stable_sort(settling_.begin(), settling_.end(), [&](uint64_t a, uint64_t b) { return slots_[a].settles > slots_[b].settles; });
  }
  for (const uint64_t leaf : leaves_) {
    Slot& slot = slots_[leaf];
    slot.touched = 0;
    if (settling_.empty()) slot.settles = std::numeric_limits<size_t>::max();
  }
}

// Calls the callback for the leaves whose gradients are complete by now.
void Tape::settle() {
  for (; !settling_.empty() && slots_[settling_.back()].settles <= reversed_; settling_.pop_back()) heard_(settling_.back());
}

Tensor Tape::gradient(const Tensor& leaf) {
  const auto found = slots_.find(leaf.storage_number());
  if (found == slots_.end() || !found->second.is_leaf)
    fail(ErrorCode::kInvalidArgument, "tape: this tensor has no gradient, because it is not watched; call watch() before the forward pass");
  return gradient_of(leaf, slot_of(leaf));
}

void Tape::clear_gradients() {
  for (auto& [number, slot] : slots_) slot.filled = false;
}

void Tape::clear() {
  entries_.clear();
  ops_ = 0;
  for (auto at = slots_.begin(); at != slots_.end();) at = at->second.is_leaf ? std::next(at) : slots_.erase(at);
}

Tape::Slot& Tape::slot_of(const Tensor& t) {
  const auto found = slots_.find(t.storage_number());
  if (found == slots_.end())
    fail(ErrorCode::kInvalidArgument, "tape: no gradient is computed for this tensor: it does not depend on a watched tensor");
  Slot& slot = found->second;
  if (!slot.gradient.defined()) slot.gradient = pool_.take({t.storage_elements()});
  return slot;
}

void Tape::check_gradients(const char* op) const {
  for (const uint64_t number : written_) {
    const auto found = slots_.find(number);
    if (found == slots_.end() || !found->second.filled || is_finite(found->second.gradient)) continue;
    fail(ErrorCode::kInvalidArgument, "the backward pass of op {} ({}) gave a gradient that is not finite", recorded(), op);
  }
}

// The slot of a tensor whose gradient an op of the pass reads or writes.
Tape::Slot& Tape::reached(const Tensor& t) {
  Slot& slot = slot_of(t);
  if (checks_) written_.push_back(t.storage_number());
  if (slot.is_leaf) {
    if (reversed_ > slot.settles)
      fail(ErrorCode::kInvalidArgument, "tape: op {} reads or writes a gradient that was already complete", recorded());
    slot.touched = reversed_;
  }
  return slot;
}

Tensor Tape::of(const Tensor& t) { return gradient_of(t, reached(t)); }

Tensor Tape::gradient_of(const Tensor& t, Slot& slot) {
  if (!slot.filled && slot.gradient.numel() > 0) std::memset(slot.gradient.mutable_raw(), 0, slot.gradient.bytes());
  slot.filled = true;
  return t.beside(slot.gradient);
}

Gradients::Place Tape::place(const Tensor& t) {
  Slot& slot = reached(t);
  if (slot.filled || !is_whole(t)) return {gradient_of(t, slot), true};
  slot.filled = true;
  return {t.beside(slot.gradient), false};
}

}  // namespace clearhead
