// A map with words on both sides, in the terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "cli/terminal.h"

namespace clearhead::cli {

/// Up to so many boxes are drawn one by one; beyond that a map is pooled.
inline constexpr int64_t kWholeMap = 64;

/// √(weight / largest): how strongly a weight is shaded.
double shade(float weight, float largest);

/// Pairs that were never scored (other windows): "╱╱".
std::string hatching(int width);

/// Few enough boxes, and a column for each?
bool words_fit(const Terminal& terminal, const std::vector<Box>& boxes);

/// Every box against every box; the mean of several heads. Keys of one box add up, queries of one box are averaged.
void print_words(const Terminal& terminal, const std::vector<Box>& boxes, const LayerMap& map, const std::vector<int64_t>& heads);

}  // namespace clearhead::cli
