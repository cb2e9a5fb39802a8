// The memory of this machine: what a run will take is compared with it before the run begins.
#pragma once

#include <cstdint>

namespace clearhead {

/// Bytes of physical memory.
uint64_t physical_memory();

}  // namespace clearhead
