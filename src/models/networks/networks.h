// A kind of network, and how it is made from a config.json. Each file of this folder defines one kind: NAME.cc has NAME_network().
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
  const char* reads;  // the name of its kind of input (models/input_kind.h)
  std::unique_ptr<Network> (*make)(Fields& config, NetworkFacts facts, const Scope& scope);
};

template <class One>
std::unique_ptr<Network> make_network(Fields& config, NetworkFacts facts, const Scope& scope) {
  return std::make_unique<One>(config, std::move(facts), scope);
}

/// All kinds; the build writes the list from the files of this folder (src/models/CMakeLists.txt).
const std::vector<const NetworkKind*>& network_kinds();

// Fields of a config. Each throws kFormat, naming the field.
int64_t size_of(Fields& fields, const char* name, int64_t most = 1 << 20);
/// 0 if absent.
double rate_of(Fields& fields, const char* name);
/// The first if absent.
std::string choice_of(Fields& fields, const char* name, const std::vector<std::string>& choices);

}  // namespace clearhead
