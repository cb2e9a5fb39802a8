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

/// The boxes of a map's two sides.
struct Words {
  std::vector<Box> rows{}, columns{};
};
/// Of the stretches of the text that a family's rows and columns are.
Words map_words(const Trace& trace, const std::string& family);

/// Few enough boxes, and a column for each?
bool words_fit(const Terminal& terminal, const Words& words);

/// Every row against every column; the mean of several heads. Keys of one box add up, queries of one box are averaged.
void print_words(const Terminal& terminal, const Words& words, const LayerMap& map, const std::vector<int64_t>& heads);

/// Weights between boxes as print_words shows them: [row][column], −1 where the description hides the pair, −2 where it was never scored.
std::vector<std::vector<float>> word_weights(const Words& words, const LayerMap& map, const std::vector<int64_t>& heads);

}  // namespace clearhead::cli
