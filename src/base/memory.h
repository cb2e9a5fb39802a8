// The memory of this machine: what a run will take is compared with it before the run begins.
#pragma once

#include <cstdint>

namespace clearhead {

/// Bytes that this process may have: the machine's, or fewer where its control group has a limit (cgroup v2).
uint64_t physical_memory();

}  // namespace clearhead
