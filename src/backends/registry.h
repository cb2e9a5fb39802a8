// Chooses the backend of this process. CLEARHEAD_BACKEND=ref|cpu and CLEARHEAD_ISA=avx2|avx512 force one; otherwise it
// is the fastest that runs here.
#pragma once

#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace clearhead {

/// The table in use, chosen on the first call. Throws kUnsupported if the environment forces one that cannot run here.
const Backend& backend();
/// Chooses a table by name: "ref", "cpu", or an instruction set of cpu, "avx2" or "avx512". Must not be called during a
/// computation. Throws kUnsupported if the name is unknown or the table cannot run here.
void choose_backend(std::string_view name);
/// All tables that can run on this machine, slowest first: ref, then each instruction set of cpu. For tests and
/// `clearhead doctor`.
std::vector<const Backend*> runnable_backends();

}  // namespace clearhead
