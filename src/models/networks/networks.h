// The registry of networks. Each file in this folder defines one network: NAME.cc defines NAME_network().
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "models/network.h"

namespace clearhead {

struct NetworkKind {
  const char* model_type;
  const char* reads;  // name of the network's kind of input (models/input_kind.h)
  std::unique_ptr<Network> (*make)(Fields& config, NetworkFacts facts, const Scope& scope);
};

template <class One>
std::unique_ptr<Network> make_network(Fields& config, NetworkFacts facts, const Scope& scope) {
  return std::make_unique<One>(config, std::move(facts), scope);
}

/// All networks; the build generates this list from the files in this folder (src/models/CMakeLists.txt).
const std::vector<const NetworkKind*>& network_kinds();

// Read fields of config.json. Each throws kFormat with the name of the field.
/// An integer from 1 to `most`.
int64_t size_of(Fields& fields, const char* name, int64_t most = 1 << 20);
/// A number from 0 to 0.9; 0 if absent.
double rate_of(Fields& fields, const char* name);
/// One of the choices; the first if absent.
std::string choice_of(Fields& fields, const char* name, const std::vector<std::string>& choices);

}  // namespace clearhead
