// Forward passes of Linear, Norm, Rotary, Attention and Mlp. An MLP is processed in pieces of rows whose inner activations
// stay in cache, unless it is recorded for training.
#include "nn/layers.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace clearhead::nn {
namespace {

constexpr int64_t kMlpElements = int64_t{1} << 20;        // inner activations of a piece: 4 MiB, half the L2 and L3 of two cores
constexpr int64_t kMlpElementsInBf16 = 4 * kMlpElements;  // bf16 products wait for their weights, so more rows share them

// Columns [begin, begin + count)·head_dim of [rows, heads·head_dim] as [batch, count, length, head_dim].
Tensor heads_of(const Tensor& rows, int64_t batch, int64_t begin, int64_t count, int64_t head_dim) {
  const int64_t all = rows.size(1) / head_dim;
  return rows.reshape({batch, rows.size(0) / batch, all, head_dim}).slice(2, begin, begin + count).permute({0, 2, 1, 3});
}

// Applies a projection. A record shares q and k, so their memory is allocated if an observer wants them; otherwise it is
// scratch memory of the run.
Tensor projected_by(Run& run, const Linear& map, const Tensor& x, bool wanted, DType dtype) {
  const Shape shape = {x.size(0), map.out()};
  Tensor out = wanted ? Tensor::empty(shape, dtype) : run.take(shape, dtype);
  map(run, x, out);
  return out;
}

// to += linear(x), with dropout in training: adds the output of a block to the residual stream.
void add_to_residual(Run& run, const Linear& linear, const Tensor& x, Tensor& to) {
  if (!run.drops()) return linear(run, x, to, {.accumulate = true});
  Tensor added = run.take(to.shape());
  linear(run, x, added);
  ops::dropout(run, added, {.rate = run.dropout->rate, .seed = run.dropout->next(), .accumulate = true}, to);
}

}  // namespace

void Linear::operator()(Run& run, const Tensor& x, Tensor& to, const ops::LinearOptions& options) const {
  ops::linear(run, x, *weight, bias, to, options);
}

void Norm::operator()(Run& run, const Tensor& x, Tensor& to) const {
  if (normalisation) {
    ops::norm(run, x, *normalisation, to);
  } else if (x.raw() != std::as_const(to).raw()) {
    std::memcpy(to.mutable_raw(), x.raw(), x.bytes());
  }
}

ops::RotaryAngles Rotary::angles(Run& run, const std::vector<int32_t>& positions) const {
  const int64_t rows = static_cast<int64_t>(positions.size()), half = static_cast<int64_t>(frequencies.size());
  ops::RotaryAngles out{run.take({rows, half}), run.take({rows, half}), 2 * half, interleaved};
  ops::fill_angles(frequencies, positions, out);
  return out;
}

Attention::KeysAndValues Attention::keys_of(Run& run, const Tensor& projected, const Sequences& sequences, const KVCache* cache,
                                            bool wanted) const {
  const auto split = [&](const Tensor& rows, int64_t begin) {
    return KeysAndValues{heads_of(rows, sequences.batch, begin, key_heads, head_dim),
                         heads_of(rows, sequences.batch, begin + key_heads, key_heads, head_dim)};
  };
  if (!memory) return split(projected, heads);
  if (cache && cache->length() > 0) return {};
  return split(ops::rounded(run, projected_by(run, memory, *sequences.memory, wanted, ops::linear_dtype(run, *memory.weight))), 0);
}

void Attention::operator()(Run& run, const Site& site, const Tensor& x, const Sequences& sequences, KVCache* cache, Tensor& to) const {
  const Arena::Scope scope(run.arena);
  const bool wanted = run.wants(site);
  const int64_t rows = x.size(0);
  const DType dtype = sequences.rotation ? DType::kF32 : ops::linear_dtype(run, *projection.weight);
  Tensor projected = projected_by(run, projection, x, wanted, dtype);
  if (sequences.rotation) {
    Tensor turning = projected.reshape({rows, heads + 2 * key_heads, head_dim}).slice(1, 0, heads + key_heads);
    ops::rotary(run, turning, *sequences.rotation);
  }
  projected = ops::rounded(run, projected);
  const Tensor q = heads_of(projected, sequences.batch, 0, heads, head_dim);
  auto [k, v] = keys_of(run, projected, sequences, cache, wanted);
  AttentionSpec described = sequences.described ? *sequences.described : spec;
  if (sequences.segments) described.topology.segments = sequences.segments;
  if (run.drops_attention()) described.after.dropout = Dropout{.rate = run.dropout->attention, .seed = run.dropout->next()};
  Keys keys = k;
  if (cache) {
    const Band& band = spec.topology.band;
    if (band.back && !wanted) cache->keep_last(*band.back - std::min<int64_t>(0, band.offset));
    if (k.defined()) cache->append(k, v);
    keys = cache->snapshot();
    if (!v.defined()) v = Tensor::empty({sequences.batch, key_heads, 0, head_dim});
    if (wanted && cache->dtype() != v.dtype()) v = to_f32(to_dtype(v, cache->dtype()));  // norms of the rounded values
  }
  Tensor attended = run.take({rows, heads * head_dim}, run.operands);
  Tensor out = heads_of(attended, sequences.batch, 0, heads, head_dim);
  ops::attention(run, {site, q, keys, v, described, wanted ? output_factor(run) : Tensor(), wanted}, out);
  add_to_residual(run, output, attended, to);
}

Tensor Attention::output_factor(Run& run) const {
  const std::lock_guard<std::mutex> hold(once_->lock);
  const LiveWeight* live = dynamic_cast<const LiveWeight*>(output.weight.get());
  const uint64_t version = live ? live->values.version() : 0;
  if (once_->factor.defined() && once_->version == version) return once_->factor;
  once_->factor = ops::output_factor(run, *output.weight, heads, head_dim);
  once_->version = version;
  return once_->factor;
}

void Mlp::operator()(Run& run, const Tensor& x, Tensor& to) const {
  const Arena::Scope scope(run.arena);
  const int64_t rows = x.size(0), inner = down.weight->in;
  const int64_t elements = run.operands == DType::kBF16 ? kMlpElementsInBf16 : kMlpElements;
  const int64_t most = std::max<int64_t>(256, elements / inner / 64 * 64);
  // Training sums the weights' gradients over all rows at once. If no weight has a gradient, each piece is a checkpoint of
  // its own.
  const bool keeps_pieces = run.recorder && run.eval_mode && run.checkpoints;
  const int64_t pieces = run.recorder && !keeps_pieces ? 1 : std::max<int64_t>(1, (rows + most - 1) / most);
  const int64_t piece = (rows + pieces - 1) / pieces;
  const auto raised_dtype = is_gated ? DType::kF32 : ops::linear_dtype(run, *up.weight);
  if (keeps_pieces) {
    for (int64_t begin = 0; begin < rows; begin += piece) {
      Tensor target = to.slice(0, begin, std::min(rows, begin + piece));
      const Tensor read = x.slice(0, begin, std::min(rows, begin + piece));
      run.recorder->checkpoint(target, [this, run, read, target, raised_dtype]() mutable {
        Tensor raised = run.take({read.size(0), up.out()}, raised_dtype);
        Tensor gated = is_gated ? run.take({read.size(0), down.weight->in}) : Tensor();
        add_piece(run, read, raised, gated, target);
      });
    }
    return;
  }
  const Tensor raised_rows = run.take({std::min(rows, piece), up.out()}, raised_dtype);
  const Tensor gated_rows = is_gated ? run.take({std::min(rows, piece), inner}) : Tensor();
  for (int64_t begin = 0; begin < rows; begin += piece) {
    const int64_t end = std::min(rows, begin + piece);
    Tensor raised = raised_rows.slice(0, 0, end - begin), target = to.slice(0, begin, end);
    Tensor gated = is_gated ? gated_rows.slice(0, 0, end - begin) : Tensor();
    add_piece(run, x.slice(0, begin, end), raised, gated, target);
  }
}

void Mlp::add_piece(Run& run, const Tensor& x, Tensor& raised, Tensor& gated, Tensor& to) const {
  up(run, x, raised, {.activation = is_gated ? Activation::kNone : activation});
  if (!is_gated) return add_to_residual(run, down, raised, to);
  ops::gated(run, activation, raised, gated);
  add_to_residual(run, down, gated, to);
}

}  // namespace clearhead::nn
