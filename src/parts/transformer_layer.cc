// A layer of a Transformer: what its attention saw is added, then what the feed-forward block makes of it.
#include "clearhead/parts.h"

namespace clearhead::parts {

TransformerLayer::TransformerLayer(const Scope& scope, int64_t width, int64_t heads, const TransformerLayerOptions& options)
    : norm1(scope / "norm1", width),
      norm2(scope / "norm2", width),
      attention(scope / "attention", width, heads, options.attention),
      inner(scope / "inner", width, options.inner == 0 ? 4 * width : options.inner, {.activation = options.activation}),
      dropout(options.dropout) {}

Tensor TransformerLayer::operator()(Compute& compute, const Tensor& x, const Layout& layout) const {
  return after(compute, x, attention(compute, norm1(compute, x), layout));
}

Tensor TransformerLayer::operator()(Compute& compute, const Tensor& x, const Layout& layout, const Tensor& memory,
                                    const Layout& memory_layout) const {
  return after(compute, x, attention(compute, norm1(compute, x), layout, memory, memory_layout));
}

Tensor TransformerLayer::after(Compute& compute, const Tensor& x, const Tensor& seen) const {
  const Tensor sum = compute.add(x, compute.dropout(seen, dropout));
  return compute.add(sum, compute.dropout(inner(compute, norm2(compute, sum)), dropout));
}

}  // namespace clearhead::parts
