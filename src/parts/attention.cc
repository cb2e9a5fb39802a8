// Multi-head attention and attention pooling: projections around Compute::attend(), which is given the site.
#include <algorithm>

#include "base/format.h"
#include "clearhead/parts.h"

namespace clearhead::parts {
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

Attention::Attention(const Scope& scope, int64_t width, int64_t heads, const AttentionOptions& options)
    : heads_(heads),
      key_heads_(options.key_heads == 0 ? heads : options.key_heads),
      spec_(options.spec),
      rotary_(options.rotary),
      dropout_(options.dropout),
      site_(options.site) {
  if (heads < 1 || key_heads_ < 1 || heads % key_heads_ != 0 || options.head_dim < 0 || (options.head_dim == 0 && width % heads != 0)) {
    fail(ErrorCode::kInvalidArgument,
         "attention \"{}\": a width of {} in {} heads and {} key heads; expected heads that divide the width, and key heads that divide "
         "them",
         scope.path(), width, heads, key_heads_);
  }
  const int64_t d = options.head_dim == 0 ? width / heads : options.head_dim;
  const int64_t from = options.memory_width == 0 ? width : options.memory_width;
  const LinearOptions linear{options.bias, options.init};
  query = Linear(scope / "query", width, heads * d, linear);
  key = Linear(scope / "key", from, key_heads_ * d, linear);
  value = Linear(scope / "value", from, key_heads_ * d, linear);
  output = Linear(scope / "output", heads * d, width, linear);
}

Tensor Attention::operator()(Compute& compute, const Tensor& x, const Layout& layout) const {
  return attend(compute, x, layout, x, layout, rotary_.has_value());
}

Tensor Attention::operator()(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& memory,
                             const Layout& memory_layout) const {
  if (rotary_) fail(ErrorCode::kUnsupported, "attention: rotary embeddings in cross-attention are not supported; expected self-attention");
  if (layout.batch != memory_layout.batch) {
    fail(ErrorCode::kShape, "attention: {} sequences attend to {} memories; expected one for each", layout.batch, memory_layout.batch);
  }
  return attend(compute, x, layout, memory, memory_layout, false);
}

Tensor Attention::attend(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& memory, const Layout& memory_layout,
                         bool rotates) const {
  layout.check("attention", x);
  memory_layout.check("attention's memory", memory);
  AttentionSpec spec = spec_;
  if (is_parted(layout) || is_parted(memory_layout)) {
    if (spec.topology.segments)
      fail(ErrorCode::kInvalidArgument, "attention: padded or packed sequences, and segments in the description; expected one of the two");
    spec.topology.segments = Segments{layout.segments(), memory_layout.segments()};
  }
  if (dropout_ > 0 && compute.is_training()) {
    spec.after.dropout = Dropout{.rate = static_cast<float>(dropout_), .seed = compute.dropout_seed()};
  }
  const auto turned = [&](const Tensor& rows, int64_t heads) {
    if (!rotates) return rows;
    const Tensor by_head = rows.reshape({rows.size(0), heads, rows.size(1) / heads});
    return compute.rotate(by_head, layout.positions(), *rotary_).reshape(rows.shape());
  };
  const Tensor q = heads_of(turned(query(compute, x), heads_), layout, heads_);
  const Tensor k = heads_of(turned(key(compute, memory), key_heads_), memory_layout, key_heads_);
  const Tensor v = heads_of(value(compute, memory), memory_layout, key_heads_);
  const Tensor seen = compute.attend(q, k, v, spec, site_, output.weight);
  return output(compute, seen.permute({0, 2, 1, 3}).reshape({layout.rows(), heads_ * v.size(3)}));
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

}  // namespace clearhead::parts
