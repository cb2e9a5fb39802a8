#include "base/memory.h"

#include <unistd.h>

namespace clearhead {

uint64_t physical_memory() { return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace clearhead
