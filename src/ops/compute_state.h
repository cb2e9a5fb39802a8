// What a Compute holds: the run of its ops, and what attention needs beside it. Training adds a recorder to the run.
#pragma once

#include <optional>
#include <vector>

#include "clearhead/compute.h"
#include "ops/ops.h"

namespace clearhead {

struct Compute::State {
  State() = default;
  explicit State(const Run& given) : run(given) {}  // over the arena of another

  Arena arena{};
  Run run{arena};
  Interventions interventions{};
  uint64_t seed = 0, dropped = 0;  // of dropout: seeds are drawn in the order of the ops

  // Angles of the last rotation: the layers of a network turn the same rows by the same angles.
  struct Turned {
    std::vector<int32_t> positions{};
    double base = 0;
    ops::RotaryAngles angles{};
  };
  std::optional<Turned> turned{};
};

}  // namespace clearhead
