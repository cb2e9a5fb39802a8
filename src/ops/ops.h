// The ops of a forward pass. Each checks shapes (kShape), then lets the backend in use compute. One .cc a op; a gradient stands beside its forward.
#pragma once

#include <cstdint>
#include <memory>

#include "backends/dense.h"
#include "clearhead/attend.h"
#include "ops/run.h"

namespace clearhead::ops {

struct LinearOptions {
  Activation activation = Activation::kNone;
  bool accumulate = false;  // out += …
};
/// out[r] = f(x[r]·Wᵀ + bias).   x: [rows, in], out: [rows, out], rows contiguous; bias: [out] or undefined.
void linear(Run& run, const Tensor& x, const PreparedWeight& weight, const Tensor& bias, Tensor& out, const LinearOptions& options = {});

struct Normalisation {
  bool rms = false;
  double epsilon = 1e-5;
  Tensor weight{};  // [width]
  Tensor bias{};    // [width] or undefined
};
/// out = norm(x).   [rows, width], contiguous; out may be x.
void norm(Run& run, const Tensor& x, const Normalisation& normalisation, Tensor& out);

struct EmbeddingTables {
  Tensor tokens{}, positions{}, types{};  // [entries, width], f32, bf16 or f16; undefined: left out
  float scale = 1;
};
struct EmbeddingIds {
  const std::vector<int32_t>& tokens;
  const std::vector<int32_t>& positions;  // rows of the table
  const std::vector<int32_t>& types;
};
/// out[r] = scale·tokens[id] + positions[p] + types[t].   out: [rows, width]. Throws kInvalidArgument for ids outside their tables.
void embed(Run& run, const EmbeddingTables& tables, const EmbeddingIds& ids, Tensor& out);

/// Angles of a rotary embedding for the rows of a batch: cosine and sine, [rows, dims / 2].
struct RotaryAngles {
  Tensor cosine{}, sine{};
  int64_t dims = 0;
  bool interleaved = false;
};
/// Turns the heads of x in place.   x: [rows, heads, head_dim], head_dim contiguous.
void rotary(Run& run, Tensor& x, const RotaryAngles& angles);

/// out = f(gate) ⊙ up.   x: [rows, gate | up], out: [rows, width]; contiguous.
void gated(Run& run, Activation activation, const Tensor& x, Tensor& out);

struct AttentionCall {
  const Site& site;
  const Tensor& q;   // [batch, head, query, d_k]
  const Keys& keys;  // [batch, key_head, key, d_k], or pages
  const Tensor& v;   // [batch, key_head, key, d_v]: of the new keys where keys are pages
  const AttentionSpec& spec;
  const Tensor& gram;  // f32 [head, d_v, d_v]: W_O^h·W_O^hᵀ, read only when wanted; undefined: no output norms
  bool wanted = false;
};
/// The fused call into out [batch, head, query, d_v], any strides. Tells the observer where wanted.
void attention(Run& run, const AttentionCall& call, Tensor& out);

/// ‖v_j‖ and ‖v_j·W_O^h‖ = √(v_j·G_h·v_jᵀ).   v: [batch, key_head, key, d_v], gram: [head, d_v, d_v] or undefined.
KeyNorms key_norms(const Tensor& v, const Tensor& gram);

}  // namespace clearhead::ops
