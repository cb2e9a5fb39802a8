// What travels through a forward pass: who watches, where scratch memory comes from, and who records for the gradients.
//
//   ops::linear(run, x, weight, …)        every op takes the run first; a layer written for inference trains without a change
//
// Scratch is handed out from blocks that stay from run to run, and taken back by scope:
//   Arena::Scope scope(run.arena);
//   Tensor hidden = run.arena.take({rows, width});     // f32, contents unset, valid until the scope ends
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/random.h"
#include "clearhead/observer.h"
#include "clearhead/tensor.h"
#include "ops/recorder.h"
#include "tensor/pool.h"

namespace clearhead {

class Arena {
 public:
  /// A view of a block the arena owns: writing it counts up the version of everything in the block, so a record over scratch goes stale by itself.
  Tensor take(const Shape& shape);
  /// Of 16 bits: not by scope, but until the last view of it goes.
  Tensor take_narrow(const Shape& shape, DType dtype) { return narrow_.take(shape, dtype); }

  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) {}
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t block_;
    int64_t used_;
  };

  int64_t bytes() const;
  /// Gives memory back if more than `keep_bytes` is held. Only outside scopes.
  void trim(int64_t keep_bytes);

 private:
  TensorPool narrow_;
  std::vector<Tensor> blocks_;  // f32 [elements]
  size_t block_ = 0;            // the one being handed out
  int64_t used_ = 0;            // elements of it
};

/// Dropout of a forward pass: every place that drops draws a seed of its own, in the order of the pass. 0 ≤ rate < 1.
struct RunDropout {
  float rate = 0;       ///< of embeddings and of what blocks add (Vaswani et al. 2017, §5.4)
  float attention = 0;  ///< of the weights of attention
  uint64_t seed = 0;
  uint64_t drawn = 0;
  uint64_t next() { return random_bits(seed, drawn++); }
};

struct Run {
  Arena& arena;
  Observer* observer = nullptr;
  Recorder* recorder = nullptr;   ///< the tape when gradients are wanted; null in inference
  RunDropout* dropout = nullptr;  ///< null in inference
  DType operands =
      DType::kF32;  ///< of attention and of products with live or bf16 weights: kBF16 rounds what they read (Micikevicius et al. 2018)
  bool checkpoints = false;  ///< where gradients are recorded: of a layer its input is kept, the rest computed again (Chen et al. 2016)

  bool wants(const Site& site) const { return observer && observer->wants(site); }
  /// Contents unset: the arena's until the scope ends; where gradients are recorded, memory that stays while they need it.
  Tensor take(const Shape& shape, DType dtype = DType::kF32) const {
    if (recorder) return recorder->take(shape, dtype);
    return dtype == DType::kF32 ? arena.take(shape) : arena.take_narrow(shape, dtype);
  }
  /// What outlives the scope, contents unset. Where gradients are recorded its memory comes back, step after step.
  Tensor result(const Shape& shape) const { return recorder ? recorder->take(shape) : Tensor::empty(shape); }
  bool drops() const { return dropout && dropout->rate > 0; }
  bool drops_attention() const { return dropout && dropout->attention > 0; }
  /// Whether an op that reads these is to be recorded.
  bool records(std::initializer_list<const Tensor*> read) const {
    return recorder && std::any_of(read.begin(), read.end(), [&](const Tensor* t) { return t->defined() && recorder->wants(*t); });
  }
};

}  // namespace clearhead
