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
      .of_ids = [](const AttributionTarget& target,
                   const AttributionOptions& options) { return of_one_layer(target, KeyFactor::kOne, options); },
  };
  return method;
}

}  // namespace clearhead::explain
