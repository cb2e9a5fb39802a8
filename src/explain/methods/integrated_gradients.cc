// Integrated gradients from embeddings of zeros (Sundararajan et al. 2017, equation 1), evaluated at the midpoints of the steps.
#include "explain/attribution_parts.h"

namespace clearhead::explain {

const Method& integrated_gradients_method() {
  static const Method method = {
      .order = 90,
      .name = "integrated-gradients",
      .what = "embedding times its gradient, averaged along the path from zeros (Sundararajan et al. 2017)",
      .needs_gradients = true,
      .takes_steps = true,
      .of_inputs = true,
      .of_ids =
          [](const AttributionTarget& target, const AttributionOptions& options) {
            return gradients_times_inputs(target, options, options.steps, /*at_the_input=*/false);
          },
      .runs = [](const AttributionTarget&, const AttributionOptions& options) { return options.steps; },
  };
  return method;
}

}  // namespace clearhead::explain
