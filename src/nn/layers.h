// Layers: weights and the order in which ops use them. Each is a small struct that is called with a Run; none knows a model family.
//
// Activations are [rows, width] with rows = batch·length, sequence after sequence.
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

/// A norm, or nothing.
struct Norm {
  std::optional<ops::Normalisation> normalisation{};

  explicit operator bool() const { return normalisation.has_value(); }
  /// to = norm(x); to may be x. Without a norm: a copy, unless to is x.
  void operator()(Run& run, const Tensor& x, Tensor& to) const;
};

/// The rotation of Q and K: which channels, at which speeds.
struct Rotary {
  std::vector<double> frequencies{};  // [dims / 2] radians a position
  bool interleaved = false;

  ops::RotaryAngles angles(Run& run, const std::vector<int32_t>& positions) const;
};

/// The sequences of one call, as attention sees them.
struct Sequences {
  int64_t batch = 0;                            // rows of x are shared out evenly
  std::optional<Segments> segments{};           // padding and packed documents
  const ops::RotaryAngles* rotation = nullptr;  // of every row
  const AttentionSpec* described = nullptr;     // in place of the layer's own description
  const Tensor* memory = nullptr;               // [batch·memory length, width]: what cross-attention looks at
};

/// x·W_q, memory·W_kv → heads → fused attention → W_O, added to the residual. The memory of self-attention is x itself.
class Attention {
 public:
  int64_t heads = 0, key_heads = 0, head_dim = 0;
  Linear projection{};  // [q | k | v], or q of cross-attention
  Linear memory{};      // [k | v] of cross-attention
  Linear output{};
  AttentionSpec spec{};

  /// to += attention(x).   x, to: [rows, width]. With a cache the new keys are appended and the queries see all of it; a memory is appended once.
  void operator()(Run& run, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache, Tensor& to) const;

 private:
  struct KeysAndValues {
    Tensor k{}, v{};  // [batch, key_head, key, head_dim]; undefined: the cache holds them all
  };
  KeysAndValues keys_of(Run& run, const Tensor& projected, const Sequences& sequences, const KVCache* cache, bool wanted) const;
  Tensor gram(Run& run) const;

  struct Once {
    std::mutex lock;
    Tensor gram;
    uint64_t version = 0;  // of the weight it was made from
  };
  std::shared_ptr<Once> once_ =
      std::make_shared<Once>();  // W_O^h·W_O^hᵀ [head, d_v, d_v], made when first watched, and again where training moved the weight
};

/// down(f(up x)), or down(f(gate x) ⊙ up x) with `up` holding [gate | up]. Long inputs go through in pieces: the inner activations stay in cache.
struct Mlp {
  Linear up{}, down{};
  Activation activation = Activation::kGeluErf;
  bool is_gated = false;

  explicit operator bool() const { return static_cast<bool>(up); }
  /// to += mlp(x).
  void operator()(Run& run, const Tensor& x, Tensor& to) const;
};

}  // namespace clearhead::nn
