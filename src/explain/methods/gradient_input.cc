// x·∂y/∂x of each embedding, signed (Shrikumar et al. 2017).
#include "explain/attribution_parts.h"

namespace clearhead::explain {

const Method& gradient_input_method() {
  static const Method method = {
      .order = 80,
      .name = "gradient-input",
      .what = "embedding times its gradient",
      .needs_gradients = true,
      .of_inputs = true,
      .of_ids = [](const AttributionTarget& target,
                   const AttributionOptions& options) { return gradients_times_inputs(target, options, 1, /*at_the_input=*/true); },
  };
  return method;
}

}  // namespace clearhead::explain
