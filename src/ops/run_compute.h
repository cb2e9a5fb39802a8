// A Compute over a Run that the caller owns, such as the run of a training step.
#pragma once

#include "clearhead/compute.h"
#include "ops/run.h"

namespace clearhead {

class RunCompute final : public Compute {
 public:
  /// The run's arena and recorder must outlive this object. Dropout seeds are derived from the run's seed.
  explicit RunCompute(const Run& run, const Interventions& interventions = {});
  bool is_training() const override;
};

}  // namespace clearhead
