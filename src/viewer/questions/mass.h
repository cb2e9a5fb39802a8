// The attention that a set of queries gives to a set of keys, in every head (api/mass).
#pragma once

#include <string>
#include <vector>

#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

struct MassLook {
  std::string family{};
  std::vector<Range> rows{}, keys{};
  WeightKind weight = WeightKind::kRaw;
  SinkRule sink = SinkRule::kMark;
};

namespace questions {

/// "mass" [layer, head]: the attention of a row to the keys, averaged over the rows; NaN for a layer that was not kept.
ViewFrame mass(LoadedTrace& loaded, const MassLook& look, const LookOptions& options = {});

}  // namespace questions
}  // namespace clearhead::viewer
