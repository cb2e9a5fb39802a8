// The tape: what ops were run, in order, and how to go back.
//
//   Tape tape;  tape.watch(weight);                 run.recorder = &tape;  loss = f(run, …);
//   tape.backward(loss);                            tape.gradient(weight)
//
// Gradients stand beside storages, one f32 for each element; a view's gradient is the same view. What was computed on the way is let go as the tape
// unwinds; what is watched keeps its gradient, and further passes add to it until clear_gradients(). Memory comes back to one pool, so that a step of the
// same sizes asks the system for none.
// A checkpoint is an entry that holds the input of a stretch of ops and runs them again: they are recorded in its place, and the pass goes on with them.
// Invariant: a storage's gradient is alive from the first reverse that reaches it to the reverse of the op that first wrote it.
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
  /// A leaf: f32, owned, contiguous and whole, or a view of such a one. Throws kUnsupported otherwise.
  void watch(const Tensor& leaf);
  /// Reverses all that was recorded, last first, and forgets it. loss: one element. Throws kInvalidArgument where nothing of it was recorded, kStale where
  /// something kept was written since.
  void backward(const Tensor& loss);
  /// Of what is watched, as the same view; zeros where no loss reached it.
  Tensor gradient(const Tensor& leaf);
  void clear_gradients();
  /// Heard once in every pass for each watched storage, by its number, when nothing of the pass will touch its gradient any more: while it goes on, for passes as
  /// long as the one before; else at its end. The order follows from what was recorded and from the order of watch().
  void on_settled(std::function<void(uint64_t storage)> heard) { heard_ = std::move(heard); }
  /// Forgets what was recorded.
  void clear();

  int64_t recorded() const { return static_cast<int64_t>(entries_.size()); }
  /// Most memory that what was taken, and gradients, held at once.
  size_t most_bytes() const { return pool_.most_bytes(); }
  /// From now on, whether each op's results are looked through: the first that is not finite throws kInvalidArgument with the op's name.
  void check_finite(bool on) { checks_ = on; }

  // Recorder
  Tensor take(const Shape& shape, DType dtype) override { return pool_.take(shape, dtype); }
  bool wants(const Tensor& t) const override { return slots_.count(t.storage_number()) > 0; }
  void record(const char* op, const Tensor& out, const std::vector<Tensor>& kept, Reverse reverse) override;
  void checkpoint(Tensor& x, const std::function<void()>& body) override;

 private:
  struct Slot {
    Tensor gradient{};  // [elements of the storage]; undefined: nothing came yet
    bool is_leaf = false;
    size_t touched = 0, settles = 0;  // of a leaf: entries that were reversed when this pass, the one before last touched it
    bool filled = false;
  };
  struct Kept {
    Tensor tensor;
    uint64_t version;
  };
  struct Entry {
    const char* op;
    Tensor out;  // a shadow
    std::vector<Kept> kept;
    Reverse reverse;
    bool first = false;  // the first op that wrote the storage
  };
  Tensor of(const Tensor& t) override;
  Place place(const Tensor& t) override;
  Slot& slot_of(const Tensor& t);
  Slot& reached(const Tensor& t);
  void plan(size_t length);
  void settle();
  Tensor gradient_of(const Tensor& t, Slot& slot);

  TensorPool pool_;
  std::vector<Entry> entries_;
  int64_t ops_ = 0;                                 // of this pass, those that a checkpoint let go too
  std::optional<std::vector<uint64_t>> passing_{};  // inside a checkpoint's first run: storages that ops wrote first, which go with it
  size_t reversed_ = 0;                             // entries of this backward pass
  std::unordered_map<uint64_t, Slot> slots_;        // by storage
  bool checks_ = false;
  std::function<void(uint64_t)> heard_{};
  std::vector<uint64_t> leaves_;    // in the order of watch()
  std::vector<uint64_t> settling_;  // in a pass as long as the one before: leaves that are still to be heard, the next one last
  size_t length_ = 0;               // entries of the pass before
};

}  // namespace clearhead
