// The layers of clearhead/nn.h, run in given memory: results are written to tensors of the caller, and blocks add to the residual
// stream in place. The models and the layers' operator()(Compute&, …) use these functions.
//
// Activations are [rows, width] with rows = batch·length, one sequence after another.
#pragma once

#include <cstdint>
#include <optional>

#include "clearhead/nn.h"
#include "ops/ops.h"

namespace clearhead::nn {

/// to = f(x·Wᵀ + b), where f is options.activation; to += … if options.accumulate.
void linear(Run& run, const Linear& layer, const Tensor& x, Tensor& to, const ops::LinearOptions& options = {});

/// The layers whose rows are added to give the input of the first block. A layer without a table adds nothing.
struct Embeddings {
  Embedding tokens{};
  float scale = 1;  // of the token embeddings
  Positions positions{};
  Embedding types{};
};
/// to[r] = scale·tokens[id] + positions[p] + types[t].   to: [rows, width]
void embed(Run& run, const Embeddings& layers, const ops::EmbeddingIds& ids, Tensor& to);

ops::Normalisation normalisation_of(const Norm& norm);
/// to = norm(x); `to` may be x. Without a norm, x is copied to `to`, unless they are the same.
void normalise(Run& run, const Norm& norm, const Tensor& x, Tensor& to);

/// The sequences of one attention call.
struct Sequences {
  int64_t batch = 0;                            // number of sequences; the rows of x are divided evenly among them
  std::optional<Segments> segments{};           // padding and packed documents
  const ops::RotaryAngles* rotation = nullptr;  // rotary angles of every row
  const Tensor* key_rows = nullptr;             // [rows, key_heads·head_dim] added to the keys of self-attention
  const AttentionSpec* described = nullptr;     // replaces the layer's own description
  const Tensor* memory = nullptr;               // [batch·memory length, width]: the memory of cross-attention
  int64_t top_keys = 0;                         // > 0: each query attends to so many keys, those with the highest scores
};
/// The concatenated heads, before the output projection: [rows, heads·head_dim] with dtype Run::operands, in temporary memory of the run.
/// With a cache, the new keys are appended and the queries attend to all keys. In cross-attention, the keys of the memory are appended once,
/// on the first call. The layer's own site, rotary and dropout are not read: they are for calls with a Compute.
Tensor attended(Run& run, const Attention& layer, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache);
/// to += output(attended(x)), with the run's dropout.   x, to: [rows, width]
void add_attention(Run& run, const Attention& layer, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache,
                   Tensor& to);

/// to += layer(x), with the run's dropout. Long inputs are processed in pieces of rows, so that the inner activations stay in cache.
void add_feed_forward(Run& run, const FeedForward& layer, const Tensor& x, Tensor& to);
/// Computes the inner activations: f(up x), or f(gate x) ⊙ up x if the layer is gated.   raised: [rows, up.out()], overwritten;
/// gated: [rows, down.in()], undefined if the layer is not gated. Returns `raised`, or `gated` if the layer is gated.
const Tensor& inner_activations(Run& run, const FeedForward& layer, const Tensor& x, Tensor& raised, Tensor& gated);

}  // namespace clearhead::nn
