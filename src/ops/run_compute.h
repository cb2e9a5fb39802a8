// The ops of Compute over a run that somebody else holds, such as a step of a training run.
#pragma once

#include "clearhead/compute.h"
#include "ops/run.h"

namespace clearhead {

class RunCompute final : public Compute {
 public:
  /// The run's arena and recorder must outlive it. Seeds of dropout come from the run's.
  explicit RunCompute(const Run& run, const Interventions& interventions = {});
  bool is_training() const override;
};

}  // namespace clearhead
