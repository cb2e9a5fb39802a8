// P·‖v·W_O‖ of one layer (Kobayashi et al. 2020, equation 5).
#include "explain/attribution_parts.h"

namespace clearhead::explain {

const Method& output_weighted_method() {
  static const Method method = {
      .order = 40,
      .name = "output-weighted",
      .what = "weight times the norm of the projected value, last layer (Kobayashi et al. 2020)",
      .of_a_layer = true,
      .of_heads = true,
      .of_ids = [](const AttributionTarget& target,
                   const AttributionOptions& options) { return of_one_layer(target, KeyFactor::kOutputNorm, options); },
  };
  return method;
}

}  // namespace clearhead::explain
