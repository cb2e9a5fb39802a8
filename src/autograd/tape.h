// The tape: records ops in order and runs the backward pass.
//
//   Tape tape;  tape.watch(weight);                 run.recorder = &tape;  loss = f(run, …);
//   tape.backward(loss);                            tape.gradient(weight)
//
// Each storage has one f32 gradient per element; the gradient of a view is the same view of its storage's gradient. Memory of
// intermediate results is freed as the tape unwinds. Watched tensors keep their gradients, and further passes add to them until
// clear_gradients(). All memory returns to one pool, so a step of the same sizes allocates nothing.
//
// An activation checkpoint is an entry that keeps the input of several ops. In the backward pass it runs the ops again, now
// recorded; their entries take its place, and the pass continues with them.
// Invariant: the gradient of a storage that is not watched exists from the first reverse function that reaches it until the
// reverse function of the op that first wrote the storage has run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "ops/recorder.h"
#include "tensor/pool.h"

namespace clearhead {

class Tape : public Recorder, private Gradients {
 public:
  /// Declares a leaf: an f32 tensor that owns its memory, or a view of one. Throws kUnsupported otherwise.
  void watch(const Tensor& leaf);
  /// Reverses all recorded ops, last first, and clears the record. loss: one element. Throws kInvalidArgument if
  /// the loss does not depend on a watched tensor, kStale if a tensor that an op keeps was written since.
  void backward(const Tensor& loss);
  /// The gradient of a watched tensor, as the same view; zeros if no loss reached it. Throws
  /// kInvalidArgument for a tensor that is not watched.
  Tensor gradient(const Tensor& leaf);
  void clear_gradients();
  /// Sets a callback. Each backward pass calls it once for each watched storage, with its storage_number(), after the pass has
  /// last touched the storage's gradient: still during the pass if the record has as many entries as that of the previous pass,
  /// otherwise at its end. The order depends only on the record and on the order of watch().
  void on_settled(std::function<void(uint64_t storage)> heard) { heard_ = std::move(heard); }
  /// Clears the record.
  void clear();

  int64_t recorded() const { return static_cast<int64_t>(entries_.size()); }
  /// Peak memory of tensors from take() and of gradients.
  size_t most_bytes() const { return pool_.most_bytes(); }
  /// If on, each op's result is checked, and in the backward pass each gradient that it writes: the first value that is not
  /// finite throws kInvalidArgument with the op's name.
  void check_finite(bool on) { checks_ = on; }

  // Recorder
  Tensor take(const Shape& shape, DType dtype) override { return pool_.take(shape, dtype); }
  bool wants(const Tensor& t) const override { return slots_.count(t.storage_number()) > 0; }
  void record(const char* op, const Tensor& out, const std::vector<Tensor>& kept, Reverse reverse) override;
  void checkpoint(Tensor& x, const std::function<void()>& body) override;

 private:
  struct Slot {
    Tensor gradient{};  // [elements of the storage]; undefined: not allocated yet
    bool is_leaf = false;
    // For a leaf: the number of entries that were reversed when its gradient was last touched, in this pass (touched) and in
    // the previous one (settles).
    size_t touched = 0, settles = 0;
    bool filled = false;
  };
  struct Kept {
    Tensor tensor;
    uint64_t version;
  };
  struct Entry {
    const char* op;
    Tensor out;  // a shadow: no values
    std::vector<Kept> kept;
    Reverse reverse;
    bool first = false;  // true: the first op that wrote the storage
  };
  Tensor of(const Tensor& t) override;
  Place place(const Tensor& t) override;
  Slot& slot_of(const Tensor& t);
  Slot& reached(const Tensor& t);
  void plan(size_t length);
  void settle();
  Tensor gradient_of(const Tensor& t, Slot& slot);
  void check_gradients(const char* op) const;

  TensorPool pool_;
  std::vector<Entry> entries_;
  int64_t ops_ = 0;  // ops recorded in this pass, including those inside checkpoints
  // During a checkpoint's first run: storages first written by its ops. Their slots are removed after the run.
  std::optional<std::vector<uint64_t>> passing_{};
  size_t reversed_ = 0;                       // entries reversed in this pass
  std::unordered_map<uint64_t, Slot> slots_;  // by storage number
  bool checks_ = false;
  std::vector<uint64_t> written_{};  // with checks_: storages whose gradients the current reverse function requested
  std::function<void(uint64_t)> heard_{};
  std::vector<uint64_t> leaves_;  // in the order of watch()
  // Leaves whose callback is still due, the next one last. Used only if the pass has as many entries as the previous one.
  std::vector<uint64_t> settling_;
  size_t length_ = 0;  // entries of the previous pass
};

}  // namespace clearhead
