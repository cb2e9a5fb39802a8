// How much of these queries went to those keys, in every head (api/mass).
#pragma once

#include <string>
#include <vector>

#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead {

struct MassLook {
  std::string family{};
  std::vector<Range> rows{}, keys{};
  WeightKind weight = WeightKind::kRaw;
  SinkRule sink = SinkRule::kMark;
};

namespace questions {

/// "mass" [layer, head]: the mean over the rows of what each gives to the keys; NaN for a layer that was not kept.
ViewFrame mass(LoadedTrace& loaded, const MassLook& look, const LookOptions& options = {});

}  // namespace questions
}  // namespace clearhead
