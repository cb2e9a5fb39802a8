// The state of a Compute: the run that its ops use, interventions on attention, dropout seeds, and cached rotary angles.
// Training adds a recorder to the run.
#pragma once

#include <optional>
#include <vector>

#include "clearhead/compute.h"
#include "ops/ops.h"

namespace clearhead {

struct Compute::State {
  State() = default;
  explicit State(const Run& given) : run(given) {}  // uses the arena of `given`

  Arena arena{};
  Run run{arena};
  Interventions interventions{};
  uint64_t seed = 0, dropped = 0;  // of dropout: the base seed, and the number of seeds drawn so far (one per op, in order)

  // Angles of the last rotary embedding, cached because all layers of a network rotate the same rows by the same angles.
  struct CachedAngles {
    std::vector<int32_t> positions{};
    double base = 0;
    ops::RotaryAngles angles{};
  };
  std::optional<CachedAngles> cached_angles{};
  /// The angles of these rows.
  const ops::RotaryAngles& angles_of(const std::vector<int32_t>& positions, double base, int64_t dims);
  /// The description changed by the interventions that apply to this site; absent if `interventions` is empty.
  std::optional<AttentionSpec> edited(const AttentionSpec& spec, const Site& site, int64_t heads, int64_t queries) const;
};

}  // namespace clearhead
