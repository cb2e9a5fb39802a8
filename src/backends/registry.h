// Chooses the backend of this process. CLEARHEAD_BACKEND=ref|cpu and CLEARHEAD_ISA=avx2|avx512 force one; otherwise it
// is the fastest that runs here.
#pragma once

#include <string_view>
#include <vector>

#include "backends/contract.h"

namespace clearhead {

/// The table in use, chosen by the first call. Throws kUnsupported if the environment forces one that cannot run here.
const Backend& backend();
/// Chooses by name ("ref", "cpu", or an instruction set of cpu: "avx2", "avx512"). Call it before or between
/// computations. Throws kUnsupported.
void choose_backend(std::string_view name);
/// All tables that can run on this machine (ref, then each instruction set of cpu), for tests and `doctor`.
std::vector<const Backend*> runnable_backends();

}  // namespace clearhead
