// Besides: backends/dense.cc models/config.cc models/architecture.cc models/families/*.cc
// A config.json of any family is converted to an architecture or refused with a one-line error.
#include "base/json.h"
#include "fuzz.h"
#include "models/architecture.h"
#include "models/network.h"
#include "numbers.h"

namespace clearhead {
std::string network_types() { return {}; }  // replaces models/network.cc, which would link the compute code
}  // namespace clearhead

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const Json json = Json::parse({reinterpret_cast<const char*>(data), size}, "config.json");
    read_architecture(json, "config.json");
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kWhole, data, size, max_size, seed);
}
