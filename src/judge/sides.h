// A side of a map is what its queries or its keys are: the tokens of one stack ("enc", "dec"), or what a network of parts names
// ("source", "slot", "patch"). Vectors that go through a whole model live on sides: attention takes them from the side of its
// queries to that of its keys.
#pragma once

#include <string>

#include "clearhead/observer.h"

namespace clearhead::judge {

inline std::string query_side(const Site& site) {
  return !site.queries.empty() ? site.queries : site.family == "cross" ? "dec" : site.family;
}
inline std::string key_side(const Site& site) { return !site.keys.empty() ? site.keys : site.family == "cross" ? "enc" : site.family; }

/// The ids of the text that a side stands for; empty: none.
Range ids_of_side(const RunPlan& plan, const std::string& side);

}  // namespace clearhead::judge
