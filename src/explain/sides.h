// The two sides of a map are its queries and its keys. A side is named by the sequence that it indexes: the tokens of one stack
// ("enc", "dec"), or a sequence that a network from the literature names ("source", "slot", "patch"). Vectors that are propagated through a
// whole model are stored by side: attention moves them from the side of its queries to the side of its keys.
#pragma once

#include <string>

#include "clearhead/observer.h"

namespace clearhead::explain {

inline std::string query_side(const Site& site) {
  return !site.queries.empty() ? site.queries : site.family == "cross" ? "dec" : site.family;
}
inline std::string key_side(const Site& site) { return !site.keys.empty() ? site.keys : site.family == "cross" ? "enc" : site.family; }

/// The ids of the text that a side corresponds to; empty: none.
Range ids_of_side(const RunPlan& plan, const std::string& side);

}  // namespace clearhead::explain
