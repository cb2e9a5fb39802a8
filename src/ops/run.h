// The context of a forward pass: its observer, its scratch memory, and its recorder of gradients.
//
//   ops::linear(run, x, weight, …)        every op takes the run first; layers written for inference also train
//
// Scratch memory comes from blocks that are kept between runs. A scope frees the memory that was taken inside it:
//   Arena::Scope scope(run.arena);
//   Tensor hidden = run.arena.take({rows, width});     // f32, not initialised, valid until the scope ends
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
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
  /// A view of a block that the arena owns. Writing it increments the version of the whole block, so a record that
  /// shares scratch memory becomes stale.
  Tensor take(const Shape& shape);
  /// 16-bit memory. It is freed with its last view, not at the end of a scope.
  Tensor take_low_precision(const Shape& shape, DType dtype) { return low_precision_.take(shape, dtype); }

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
  /// Frees all memory if the arena owns more than `keep_bytes`. Call it outside scopes only.
  void trim(int64_t keep_bytes);

 private:
  TensorPool low_precision_;
  std::vector<Tensor> blocks_;  // f32 [elements]
  size_t block_ = 0;            // the block in use
  int64_t used_ = 0;            // elements of it that are in use
};

/// Dropout in a forward pass. Every dropout op draws its own seed, in the order of the pass. 0 ≤ rate < 1.
struct RunDropout {
  float rate = 0;       ///< of embeddings and of what each block adds to the residual stream (Vaswani et al. 2017, §5.4)
  float attention = 0;  ///< of attention weights
  uint64_t seed = 0;
  uint64_t drawn = 0;
  uint64_t next() { return random_bits(seed, drawn++); }
};

/// An attention call of a forward pass, for a loss on its weights. The tensors are those of the pass itself, so gradients
/// with respect to them reach the parameters.
struct CapturedAttention {
  Site site{};
  Tensor q{}, k{};  // [batch, head, query, d_k], [batch, key_head, key, d_k]; in Run::operands
  AttentionSpec spec{};
  Tensor log_sum_exp{};  // f32 [batch, head, query], recorded; undefined if the normaliser is not softmax
};
/// Collects the attention calls at the wanted sites, in the order of the pass.
struct AttentionCapture {
  std::function<bool(const Site&)> wants{};
  std::vector<CapturedAttention> calls{};
};

struct Run {
  Arena& arena;
  Observer* observer = nullptr;
  Recorder* recorder = nullptr;   ///< the tape; null in inference
  RunDropout* dropout = nullptr;  ///< null in inference
  /// With kBF16, attention, and products whose weight is a LiveWeight or stored in bf16, round their inputs to bf16
  /// (Micikevicius et al. 2018).
  DType operands = DType::kF32;
  const std::vector<Interventions::Patch>* patched = nullptr;  ///< activation patches for attention calls with a site
  /// With a recorder: the run computes gradients of a trained model's output, in evaluation mode. There is no dropout, and
  /// running statistics are used.
  bool eval_mode = false;
  /// True while an activation checkpoint recomputes its layer. The observer already has the layer's records and receives
  /// gradients only.
  bool is_recompute = false;
  /// Activation checkpointing: keep only each layer's input and recompute the rest (Chen et al. 2016).
  bool checkpoints = false;

  /// Captures the attention calls that have a site and whose keys are tensors. Cannot be combined with checkpoints, which
  /// discard what their first run recorded.
  AttentionCapture* capture = nullptr;

  bool wants(const Site& site) const { return observer && !is_recompute && observer->wants(site); }
  /// Memory for an intermediate result, not initialised: from the arena until the scope ends, or, if gradients are
  /// recorded, memory that lives as long as they need it.
  Tensor take(const Shape& shape, DType dtype = DType::kF32) const {
    if (recorder) return recorder->take(shape, dtype);
    return dtype == DType::kF32 ? arena.take(shape) : arena.take_low_precision(shape, dtype);
  }
  /// Memory for a result that outlives the scope, not initialised. If gradients are recorded it is reused
  /// from step to step.
  Tensor result(const Shape& shape) const { return recorder ? recorder->take(shape) : Tensor::empty(shape); }
  bool drops() const { return dropout && dropout->rate > 0; }
  bool drops_attention() const { return dropout && dropout->attention > 0; }
  /// True if an op that reads these tensors must be recorded.
  bool records(std::initializer_list<const Tensor*> read) const {
    return recorder && std::any_of(read.begin(), read.end(), [&](const Tensor* t) { return t->defined() && recorder->wants(*t); });
  }
};

}  // namespace clearhead
