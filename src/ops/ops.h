// The ops of a forward pass. Each checks shapes (kShape), then lets the backend in use compute. One .cc an op; a gradient stands beside its forward, and is
// recorded where the run has a recorder.
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

/// out[r] = x[rows[r]].   x: [entries, width], out: [rows, width], contiguous. Throws kInvalidArgument for rows that x has not.
void gather_rows(Run& run, const Tensor& x, const std::vector<int32_t>& rows, Tensor& out);

/// Angles of a rotary embedding for the rows of a batch: cosine and sine, [rows, dims / 2].
struct RotaryAngles {
  Tensor cosine{}, sine{};
  int64_t dims = 0;
  bool interleaved = false;
};
/// Turns the heads of x in place.   x: [rows, heads, head_dim], head_dim contiguous.
void rotary(Run& run, Tensor& x, const RotaryAngles& angles);

/// out = f(x).   Contiguous, one shape; not in place.
void activate(Run& run, Activation activation, const Tensor& x, Tensor& out);

/// out = f(gate) ⊙ up.   x: [rows, gate | up], out: [rows, width]; contiguous.
void gated(Run& run, Activation activation, const Tensor& x, Tensor& out);

/// out += x.   One shape, any strides.
void add(Run& run, const Tensor& x, Tensor& out);
/// out = x.   One shape, any strides.
void copy(Run& run, const Tensor& x, Tensor& out);
/// Either without a record.
void add_strided(const Tensor& x, Tensor& out, bool accumulate);

struct Dropping {
  float rate = 0;  // 0 ≤ rate < 1
  uint64_t seed = 0;
  bool accumulate = false;  // out += …
};
/// out = x/(1 − rate) where kept, 0 elsewhere (Srivastava et al. 2014). Who is kept follows from the seed and the element's place. May be in place.
void dropout(Run& run, const Tensor& x, const Dropping& dropping, Tensor& out);

struct CrossEntropyOptions {
  float smoothing = 0;     // of labels: Szegedy et al. 2016, §7
  int32_t ignored = -100;  // rows with this target do not count
  double divisor = 0;      // of the sum of losses; 0: the rows that count. Parts of one batch share the batch's
};
/// The mean loss [1] of rows of logits [rows, classes], contiguous.
Tensor cross_entropy(Run& run, const Tensor& logits, const std::vector<int32_t>& targets, const CrossEntropyOptions& options = {});

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
