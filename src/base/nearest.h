// "Did you mean …": the known names closest to an unknown one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

/// Up to `count` of the known names, sorted by edit distance to `name` (ties in the order given). Names with little in
/// common are left out.
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string_view>& known, size_t count = 3);

/// `; nearest: "a", "b"` for the end of a message; empty if no name is close.
std::string nearest_hint(std::string_view name, const std::vector<std::string_view>& known, size_t count = 3);

}  // namespace clearhead
