// The memory of this machine, to check before a run that its needs fit.
#pragma once

#include <cstdint>

namespace clearhead {

/// Bytes that this process can use: the machine's memory, or less if its control group has a limit (cgroup v2).
uint64_t physical_memory();

}  // namespace clearhead
