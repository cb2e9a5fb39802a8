// Layers: small structs of weights that are called with a Run and apply their ops in order. They are independent of model
// families.
//
// Activations are [rows, width] with rows = batch·length, one sequence after another.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "clearhead/attend.h"
#include "ops/ops.h"

namespace clearhead::nn {

/// y = f(x·Wᵀ + b).
struct Linear {
  std::shared_ptr<const PreparedWeight> weight{};
  Tensor bias{};  // [out] or undefined

  explicit operator bool() const { return weight != nullptr; }
  int64_t out() const { return weight->out; }
  void operator()(Run& run, const Tensor& x, Tensor& to, const ops::LinearOptions& options = {}) const;
};

/// An optional norm.
struct Norm {
  std::optional<ops::Normalisation> normalisation{};

  explicit operator bool() const { return normalisation.has_value(); }
  /// to = norm(x); `to` may be x. Without a norm x is copied to `to`, unless they are the same.
  void operator()(Run& run, const Tensor& x, Tensor& to) const;
};

/// A rotary embedding of Q and K: the rotated channels and their frequencies.
struct Rotary {
  std::vector<double> frequencies{};  // [dims / 2] radians per position
  bool interleaved = false;

  ops::RotaryAngles angles(Run& run, const std::vector<int32_t>& positions) const;
};

/// The sequences of one attention call.
struct Sequences {
  int64_t batch = 0;                            // number of sequences; the rows of x are divided evenly among them
  std::optional<Segments> segments{};           // padding and packed documents
  const ops::RotaryAngles* rotation = nullptr;  // rotary angles of every row
  const AttentionSpec* described = nullptr;     // replaces the layer's own description
  const Tensor* memory = nullptr;               // [batch·memory length, width]: the memory of cross-attention
};

/// x·W_q, memory·W_kv → heads → attention → W_O, added to the residual stream. In self-attention the memory is x.
class Attention {
 public:
  int64_t heads = 0, key_heads = 0, head_dim = 0;
  Linear projection{};  // [q | k | v]; in cross-attention q only
  Linear memory{};      // [k | v] of cross-attention
  Linear output{};
  AttentionSpec spec{};

  /// to += attention(x).   x, to: [rows, width]. With a cache, the new keys are appended and the queries attend to all
  /// keys. In cross-attention, the keys of the memory are appended once, on the first call.
  void operator()(Run& run, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache, Tensor& to) const;

 private:
  struct KeysAndValues {
    Tensor k{}, v{};  // [batch, key_head, key, head_dim]; undefined if the cache already contains all keys
  };
  KeysAndValues keys_of(Run& run, const Tensor& projected, const Sequences& sequences, const KVCache* cache, bool wanted) const;
  Tensor output_factor(Run& run) const;

  struct Once {
    std::mutex lock;
    Tensor factor;
    uint64_t version = 0;  // version of the weight from which the factor was computed
  };
  // Caches ops::output_factor(). It is computed when first needed, and again if training has changed the weight.
  std::shared_ptr<Once> once_ = std::make_shared<Once>();
};

/// A feed-forward block: down(f(up x)), or down(f(gate x) ⊙ up x) with the weights [gate | up] in `up`. Long inputs are
/// processed in pieces of rows, so that the inner activations stay in cache.
struct Mlp {
  Linear up{}, down{};
  Activation activation = Activation::kGeluErf;
  bool is_gated = false;

  explicit operator bool() const { return static_cast<bool>(up); }
  /// to += mlp(x).
  void operator()(Run& run, const Tensor& x, Tensor& to) const;

 private:
  // Processes one piece. Writes up(x) to `raised` and, if is_gated, f(gate) ⊙ up to `gated`.
  void add_piece(Run& run, const Tensor& x, Tensor& raised, Tensor& gated, Tensor& to) const;
};

}  // namespace clearhead::nn
