// Multi-head attention and attention pooling, called with a Compute.
#include <algorithm>

#include "base/format.h"
#include "clearhead/nn.h"
#include "nn/run.h"
#include "ops/compute_state.h"

namespace clearhead::nn {
namespace {

// [batch·length, heads·d] as [batch, head, length, d].
Tensor heads_of(const Tensor& rows, const Layout& layout, int64_t heads) {
  return rows.reshape({layout.batch, layout.length, heads, rows.size(1) / heads}).permute({0, 2, 1, 3});
}

bool is_parted(const Layout& layout) {
  return !layout.texts.empty() ||
         std::any_of(layout.lengths.begin(), layout.lengths.end(), [&](int32_t length) { return length < layout.length; });
}

}  // namespace

Attention::Attention(const Scope& scope, int64_t width, int64_t of_heads, const AttentionOptions& options) : Attention() {
  heads = of_heads;
  key_heads = options.key_heads == 0 ? heads : options.key_heads;
  spec = options.spec;
  rotary = options.rotary;
  dropout = options.dropout;
  site = options.site;
  if (heads < 1 || key_heads < 1 || heads % key_heads != 0 || options.head_dim < 0 || (options.head_dim == 0 && width % heads != 0)) {
    fail(
        ErrorCode::kInvalidArgument,
        "attention \"{}\": the width is {}, with {} heads and {} key heads; the heads must divide the width, and the key heads must divide "
        "the heads",
        scope.path(), width, heads, key_heads);
  }
  head_dim = options.head_dim == 0 ? width / heads : options.head_dim;
  const int64_t queries = heads * head_dim, keys = key_heads * head_dim;
  const LinearOptions linear{options.bias, options.init};
  if (options.memory_width > 0) {
    if (rotary)
      fail(ErrorCode::kUnsupported, "attention \"{}\": rotary embeddings in cross-attention are not supported; expected self-attention",
           scope.path());
    projection = Linear(scope / "query", width, queries, linear);
    memory = Linear::stacked(scope, options.memory_width, {{"key", keys}, {"value", keys}}, linear);
  } else {
    projection = Linear::stacked(scope, width, {{"query", queries}, {"key", keys}, {"value", keys}}, linear);
  }
  output = Linear(scope / "output", queries, width, linear);
}

Tensor Attention::operator()(Compute& compute, const Tensor& x, const Layout& layout) const {
  if (memory) fail(ErrorCode::kInvalidArgument, "attention: a layer made for cross-attention (memory_width) is called without a memory");
  return run(compute, x, layout, nullptr, layout);
}

Tensor Attention::operator()(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& of_memory,
                             const Layout& memory_layout) const {
  if (!memory)
    fail(ErrorCode::kInvalidArgument, "attention: a layer made for self-attention is called with a memory; set memory_width to its width");
  if (layout.batch != memory_layout.batch) {
    fail(ErrorCode::kShape, "attention: {} sequences attend to {} memories; expected one for each", layout.batch, memory_layout.batch);
  }
  return run(compute, x, layout, &of_memory, memory_layout);
}

// of_memory: null in self-attention; memory_layout is then equal to `layout`
Tensor Attention::run(Compute& compute, const Tensor& x, const Layout& layout, const Tensor* of_memory, const Layout& memory_layout) const {
  layout.check("attention", x);
  if (of_memory) memory_layout.check("attention's memory", *of_memory);
  Compute::State& state = compute.state();
  Run run = state.run;
  run.dropout = nullptr;  // this layer's own rate is used instead
  AttentionSpec described = spec;
  if (is_parted(layout) || is_parted(memory_layout)) {
    if (spec.topology.segments)
      fail(ErrorCode::kInvalidArgument,
           "attention: the layout has padded or packed sequences and the description has segments; only one of the two is supported");
    described.topology.segments = Segments{layout.segments(), memory_layout.segments()};
  }
  if (dropout > 0 && compute.is_training())
    described.after.dropout = Dropout{.rate = static_cast<float>(dropout), .seed = compute.dropout_seed()};
  if (auto edited = state.edited(described, site, heads, layout.length)) described = std::move(*edited);
  Sequences sequences{.batch = layout.batch, .described = &described, .memory = of_memory};
  ops::RotaryAngles angles;
  if (rotary) {
    const int64_t dims = rotary->dims == 0 ? head_dim : rotary->dims;
    if (dims < 0 || dims % 2 != 0 || dims > head_dim)
      fail(ErrorCode::kInvalidArgument, "rotary: cannot rotate {} of {} channels; expected an even number of channels, at most all", dims,
           head_dim);
    angles = state.angles_of(layout.positions(), rotary->base, dims);
    angles.interleaved = rotary->interleaved;
    sequences.rotation = &angles;
  }
  const Arena::Scope scope(run.arena);
  Tensor out = run.result({layout.rows(), output.out()});
  linear(run, output, attended(run, *this, site, x, sequences, nullptr), out);
  return out;
}

Pooling::Pooling(const Scope& scope, int64_t width, int64_t hidden_width, const Site& of)
    : hidden(scope / "hidden", width, hidden_width), query(scope.parameter("query", {1, hidden_width}, Init::xavier())), site(of) {}

// values: [batch, 1, length, width] → [batch, width]
Tensor Pooling::attend(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& values) const {
  layout.check("pooling", x);
  const Tensor k = heads_of(compute.activate("tanh", hidden(compute, x)), layout, 1);
  const Tensor q = query.reshape({1, 1, 1, query.size(1)}).expand({layout.batch, 1, 1, query.size(1)});
  AttentionSpec spec{.score = Dot{1}};
  if (is_parted(layout)) spec.topology.segments = Segments{Tensor::zeros({layout.batch, 1}, DType::kI32), layout.segments()};
  return compute.attend(q, k, values, spec, site).reshape({layout.batch, values.size(3)});
}

Tensor Pooling::operator()(Compute& compute, const Tensor& x, const Layout& layout) const {
  layout.check("pooling", x);
  return attend(compute, x, layout, heads_of(x, layout, 1));
}

Tensor Pooling::weights(Compute& compute, const Tensor& x, const Layout& layout) const {
  const int64_t n = layout.length;
  Tensor identity = Tensor::zeros({1, 1, n, n});
  for (int64_t t = 0; t < n; ++t) identity.mutable_data<float>()[t * n + t] = 1;
  return attend(compute, x, layout, identity.expand({layout.batch, 1, n, n}));
}

Tensor Pooling::operator()(Compute& compute, const Tensor& x, const Layout& layout, const Layout& groups) const {
  layout.check("pooling", x);
  const Packing packing = Packing::of(layout, groups);
  const Layout& all = packing.layout;
  std::vector<int32_t> query_ids;
  for (int64_t at = 0; at < groups.rows(); ++at) query_ids.push_back(static_cast<int32_t>(at % groups.length));
  const Tensor values = compute.embed(x, packing.from);
  const Tensor k = heads_of(compute.activate("tanh", hidden(compute, values)), all, 1);
  const Tensor q = query.reshape({1, 1, 1, query.size(1)}).expand({groups.batch, 1, groups.length, query.size(1)});
  AttentionSpec spec{.score = Dot{1}};
  spec.topology.segments = Segments{Tensor::from(query_ids, {groups.batch, groups.length}), all.segments()};
  return compute.attend(q, k, heads_of(values, all, 1), spec, site).reshape({groups.rows(), x.size(1)});
}

}  // namespace clearhead::nn
