// The weights of one layer (for an encoder-decoder, of its cross-attention) as shares.
#include "explain/attribution_parts.h"

namespace clearhead::explain {

const Method& attention_method() {
  static const Method method = {
      .order = 0,
      .name = "attention",
      .what = "weights of the last layer, mean over heads",
      .of_a_layer = true,
      .of_heads = true,
      .shares = [](const AttributionTarget& target,
                   const AttributionOptions& options) { return target.by_item(of_one_layer(target, KeyFactor::kOne, options)); },
      .runs = [](const AttributionTarget&, const AttributionOptions&) -> int64_t { return 1; },
  };
  return method;
}

}  // namespace clearhead::explain
