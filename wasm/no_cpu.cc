// There are no kernels for AVX2 or AVX-512 here: the registry chooses the backend ref.
#include "backends/cpu/cpu.h"

namespace clearhead {

const Backend* cpu_backend(InstructionSet) { return nullptr; }

}  // namespace clearhead
