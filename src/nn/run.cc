// Forward passes of Linear, Norm, Attention and FeedForward in given memory. A feed-forward block is processed in pieces of rows whose
// inner activations stay in cache, unless it is recorded for training.
#include "nn/run.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

namespace clearhead::nn {
namespace {

// Inner activations of a piece of rows: 4 MiB of f32, half of the L2 and L3 cache that two cores have.
constexpr int64_t kMlpElements = int64_t{1} << 20;
constexpr int64_t kMlpElementsInBf16 = 4 * kMlpElements;  // reading the weights limits bf16 products: more rows for each read

// Columns [begin, begin + count)·head_dim of [rows, heads·head_dim] as [batch, count, length, head_dim].
Tensor heads_of(const Tensor& rows, int64_t batch, int64_t begin, int64_t count, int64_t head_dim) {
  const int64_t all = rows.size(1) / head_dim;
  return rows.reshape({batch, rows.size(0) / batch, all, head_dim}).slice(2, begin, begin + count).permute({0, 2, 1, 3});
}

// Applies a projection. If an observer wants the record, which shares q and k, the output is new memory that outlives the run;
// otherwise it is temporary memory of the run.
Tensor projected_by(Run& run, const Linear& map, const Tensor& x, bool wanted, DType dtype) {
  const Shape shape = {x.size(0), map.out()};
  Tensor out = wanted ? Tensor::empty(shape, dtype) : run.take(shape, dtype);
  linear(run, map, x, out);
  return out;
}

// to += linear(x), with dropout in training: adds the output of a block to the residual stream.
void add_to_residual(Run& run, const Linear& layer, const Tensor& x, Tensor& to) {
  if (!run.drops()) return linear(run, layer, x, to, {.accumulate = true});
  Tensor added = run.take(to.shape());
  linear(run, layer, x, added);
  ops::dropout(run, added, {.rate = run.dropout->rate, .seed = run.dropout->next(), .accumulate = true}, to);
}

struct KeysAndValues {
  Tensor k{}, v{};  // [batch, key_head, key, head_dim]; undefined if the cache already contains all keys
};
KeysAndValues keys_of(Run& run, const Attention& layer, const Tensor& projected, const Sequences& sequences, const KVCache* cache,
                      bool wanted) {
  const auto split = [&](const Tensor& rows, int64_t begin) {
    return KeysAndValues{heads_of(rows, sequences.batch, begin, layer.key_heads, layer.head_dim),
                         heads_of(rows, sequences.batch, begin + layer.key_heads, layer.key_heads, layer.head_dim)};
  };
  if (!layer.memory) return split(projected, layer.heads);
  if (cache && cache->length() > 0) return {};
  const DType dtype = ops::linear_dtype(run, *layer.memory.weight);
  return split(ops::rounded(run, projected_by(run, layer.memory, *sequences.memory, wanted, dtype)), 0);
}

}  // namespace

// Caches ops::output_factor(). It is computed when first needed, and again if training has changed the weight, or for a copy of the
// layer with a different weight: copies share this cache.
struct Attention::OutputFactor {
  std::mutex lock;
  Tensor factor;
  std::shared_ptr<const PreparedWeight> weight;  // from which the factor was computed
  uint64_t version = 0;                          // of its values
};
Attention::Attention() : output_factor_(std::make_shared<OutputFactor>()) {}

namespace {

Tensor output_factor(Run& run, const Attention& layer) {
  Attention::OutputFactor& cached = *layer.output_factor();
  const std::lock_guard<std::mutex> hold(cached.lock);
  const LiveWeight* live = dynamic_cast<const LiveWeight*>(layer.output.weight.get());
  const uint64_t version = live ? live->values.version() : 0;
  if (cached.factor.defined() && cached.weight == layer.output.weight && cached.version == version) return cached.factor;
  cached.factor = ops::output_factor(run, *layer.output.weight, layer.heads, layer.head_dim);
  cached.weight = layer.output.weight;
  cached.version = version;
  return cached.factor;
}

}  // namespace

void linear(Run& run, const Linear& layer, const Tensor& x, Tensor& to, const ops::LinearOptions& options) {
  ops::linear(run, x, *layer.weight, layer.bias, to, options);
}

void embed(Run& run, const Embeddings& layers, const ops::EmbeddingIds& ids, Tensor& to) {
  const ops::EmbeddingTables tables{layers.tokens.weight, layers.positions.weight, layers.types.weight, layers.scale};
  ops::embed(run, tables, ids, to);
}

ops::Normalisation normalisation_of(const Norm& norm) {
  return {.rms = norm.is_rms, .epsilon = norm.epsilon, .weight = norm.weight, .bias = norm.bias};
}

void normalise(Run& run, const Norm& norm, const Tensor& x, Tensor& to) {
  if (norm) {
    ops::norm(run, x, normalisation_of(norm), to);
  } else if (x.raw() != std::as_const(to).raw()) {
    std::memcpy(to.mutable_raw(), x.raw(), x.bytes());
  }
}

Tensor attended(Run& run, const Attention& layer, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache) {
  const bool wanted = site.reported && run.wants(site);
  const int64_t rows = x.size(0), heads = layer.heads, key_heads = layer.key_heads, head_dim = layer.head_dim;
  const DType dtype = sequences.rotation || sequences.key_rows ? DType::kF32 : ops::linear_dtype(run, *layer.projection.weight);
  Tensor projected = projected_by(run, layer.projection, x, wanted, dtype);
  if (sequences.rotation) {
    Tensor rotated = projected.reshape({rows, heads + 2 * key_heads, head_dim}).slice(1, 0, heads + key_heads);
    ops::rotary(run, rotated, *sequences.rotation);
  }
  if (sequences.key_rows) {
    Tensor keys = projected.slice(1, heads * head_dim, (heads + key_heads) * head_dim);
    ops::add(run, *sequences.key_rows, keys);
  }
  projected = ops::rounded(run, projected);
  const Tensor q = heads_of(projected, sequences.batch, 0, heads, head_dim);
  auto [k, v] = keys_of(run, layer, projected, sequences, cache, wanted);
  AttentionSpec described = sequences.described ? *sequences.described : layer.spec;
  if (sequences.segments) described.topology.segments = sequences.segments;
  if (run.drops_attention()) described.after.dropout = Dropout{.rate = run.dropout->attention, .seed = run.dropout->next()};
  Keys keys = k;
  if (cache) {
    const Band& band = layer.spec.topology.band;
    if (band.back && !wanted) cache->keep_last(*band.back - std::min<int64_t>(0, band.offset));
    if (k.defined()) cache->append(k, v);
    keys = cache->snapshot();
    if (!v.defined()) v = Tensor::empty({sequences.batch, key_heads, 0, head_dim});
    if (wanted && cache->dtype() != v.dtype()) v = to_f32(to_dtype(v, cache->dtype()));  // norms of the rounded values
  }
  if (sequences.top_keys > 0) {
    described.topology.block_sparse =
        std::visit([&](const auto& all) { return select_top_keys(q, all, described, sequences.top_keys); }, keys);
  }
  Tensor attended = run.take({rows, heads * head_dim}, run.operands);
  Tensor out = heads_of(attended, sequences.batch, 0, heads, head_dim);
  ops::attention(run, {site, q, keys, v, described, wanted ? output_factor(run, layer) : Tensor(), wanted}, out);
  return attended;
}

void add_attention(Run& run, const Attention& layer, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache,
                   Tensor& to) {
  const Arena::Scope scope(run.arena);
  add_to_residual(run, layer.output, attended(run, layer, site, x, sequences, cache), to);
}

const Tensor& inner_activations(Run& run, const FeedForward& layer, const Tensor& x, Tensor& raised, Tensor& gated) {
  linear(run, layer.up, x, raised, {.activation = layer.is_gated ? Activation::kNone : layer.activation});
  if (!layer.is_gated) return raised;
  ops::gated(run, layer.activation, raised, gated);
  return gated;
}

void add_feed_forward(Run& run, const FeedForward& layer, const Tensor& x, Tensor& to) {
  const Arena::Scope scope(run.arena);
  const int64_t rows = x.size(0), inner = layer.down.in();
  const int64_t elements = run.operands == DType::kBF16 ? kMlpElementsInBf16 : kMlpElements;
  const int64_t most = std::max<int64_t>(256, elements / inner / 64 * 64);
  // Training uses one piece, because it sums the weights' gradients over all rows at once. In evaluation
  // mode (Run::eval_mode) weights usually have no gradient, so with Run::checkpoints each piece is a checkpoint of its own.
  const bool keeps_pieces = run.recorder && run.eval_mode && run.checkpoints;
  const int64_t pieces = run.recorder && !keeps_pieces ? 1 : std::max<int64_t>(1, (rows + most - 1) / most);
  const int64_t piece = (rows + pieces - 1) / pieces;
  const auto raised_dtype = layer.is_gated ? DType::kF32 : ops::linear_dtype(run, *layer.up.weight);
  if (keeps_pieces) {
    for (int64_t begin = 0; begin < rows; begin += piece) {
      Tensor target = to.slice(0, begin, std::min(rows, begin + piece));
      const Tensor read = x.slice(0, begin, std::min(rows, begin + piece));
      run.recorder->checkpoint(target, [layer, run, read, target, raised_dtype]() mutable {
        Tensor raised = run.take({read.size(0), layer.up.out()}, raised_dtype);
        Tensor gated = layer.is_gated ? run.take({read.size(0), layer.down.in()}) : Tensor();
        add_to_residual(run, layer.down, inner_activations(run, layer, read, raised, gated), target);
      });
    }
    return;
  }
  const Tensor raised_rows = run.take({std::min(rows, piece), layer.up.out()}, raised_dtype);
  const Tensor gated_rows = layer.is_gated ? run.take({std::min(rows, piece), inner}) : Tensor();
  for (int64_t begin = 0; begin < rows; begin += piece) {
    const int64_t end = std::min(rows, begin + piece);
    Tensor raised = raised_rows.slice(0, 0, end - begin), target = to.slice(0, begin, end);
    Tensor gated = layer.is_gated ? gated_rows.slice(0, 0, end - begin) : Tensor();
    add_to_residual(run, layer.down, inner_activations(run, layer, x.slice(0, begin, end), raised, gated), target);
  }
}

}  // namespace clearhead::nn
