// Draws an attention map with words as rows and columns, in the terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "cli/terminal.h"

namespace clearhead::cli {

/// A map with at most this many boxes per side is drawn box by box; a larger one is pooled.
inline constexpr int64_t kWholeMap = 64;

/// The shade of a weight, from 0 to 1: √(weight / largest).
double shade(float weight, float largest);

/// The mark "╱╱" for pairs that were never scored (in different windows).
std::string hatching(int width);

/// The boxes of a map's rows and columns.
struct Words {
  std::vector<Box> rows{}, columns{};
};
/// The boxes of the queries and keys that a family's map contains.
Words map_words(const Trace& trace, const std::string& family);

/// True if a map has at most kWholeMap boxes per side and the terminal has at least one column for each.
bool words_fit(const Terminal& terminal, const Words& words);

/// Draws the map of one head, or the mean of several. Weights are summed over the keys of a box and averaged over its queries.
void print_words(const Terminal& terminal, const Words& words, const LayerMap& map, const std::vector<int64_t>& heads);

/// The weights that print_words draws: [row][column]; −1 for a hidden pair, −2 for a pair that was never scored.
std::vector<std::vector<float>> word_weights(const Words& words, const LayerMap& map, const std::vector<int64_t>& heads);

}  // namespace clearhead::cli
