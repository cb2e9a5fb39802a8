// The smaller of physical memory and the cgroup's limit.
#include "base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace clearhead {

uint64_t physical_memory() {
  const uint64_t all = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  uint64_t limit = 0;  // stays 0 if the file says "max" (no limit)
  return std::ifstream("/sys/fs/cgroup/memory.max") >> limit && limit > 0 ? std::min(all, limit) : all;
}

}  // namespace clearhead
