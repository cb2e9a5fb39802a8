// P·‖v‖ of one layer (Kobayashi et al. 2020).
#include "explain/attribution_parts.h"

namespace clearhead::explain {

const Method& value_weighted_method() {
  static const Method method = {
      .order = 30,
      .name = "value-weighted",
      .what = "weight times the value's norm, last layer (Kobayashi et al. 2020)",
      .of_a_layer = true,
      .of_heads = true,
      .of_ids = [](const AttributionTarget& target,
                   const AttributionOptions& options) { return of_one_layer(target, KeyFactor::kValueNorm, options); },
  };
  return method;
}

}  // namespace clearhead::explain
