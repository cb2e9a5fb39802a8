// The sides of a map: what its queries or its keys are. A side is the tokens of one stack ("enc", "dec"), or what a network of parts names
// ("source", "slot", "patch"). Vectors that pass through a whole model are stored by side: attention moves them from the side of its
// queries to the side of its keys.
#pragma once

#include <string>

#include "clearhead/observer.h"

namespace clearhead::judge {

inline std::string query_side(const Site& site) {
  return !site.queries.empty() ? site.queries : site.family == "cross" ? "dec" : site.family;
}
inline std::string key_side(const Site& site) { return !site.keys.empty() ? site.keys : site.family == "cross" ? "enc" : site.family; }

/// The ids of the text that a side corresponds to; empty: none.
Range ids_of_side(const RunPlan& plan, const std::string& side);

}  // namespace clearhead::judge
