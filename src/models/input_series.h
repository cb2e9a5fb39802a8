// Reads, standardises and encodes series of numbers, and describes their intervals as the items of attention maps.
//
//   "-66 -64, -69 … 786 1025" → ModelInput::series, f32 [number] → [channels, 1, samples + features]
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clearhead/model.h"
#include "models/config.h"
#include "models/encoded_input.h"
#include "models/network.h"

namespace clearhead {

/// The values of "standardise", which config.json and recipes share. The first is the default.
const std::vector<std::pair<std::string, Standardise>>& standardise_names();

/// Reads numbers that are separated by white space or commas. Throws kFormat with the position of a number that is missing, is not a
/// number, or is not finite.   → f32 [number]
Tensor read_numbers(std::string_view text);
/// Reads a whole text, such as the cell of a table, as one number. Returns nothing if it is not a number, or not finite as f32.
std::optional<float> finite_number(std::string_view text);
/// A scale for the numbers of one channel. Scale::mean is their median, because their mean would depend on the height of peaks.
/// Scale::deviation is the largest distance from the median; 1 for a constant channel.   numbers: count samples, `stride` apart
SeriesFacts::Scale own_scale(const float* numbers, int64_t count, int64_t stride);

/// Reads "series" and "patch_size" of a config.json:
///   "series": {"length": 128, "channels": 1, "standardise": "data", "scales": [{"mean": 3, "deviation": 50}],
///              "features": [{"name": "pulse", "mean": 70, "deviation": 12}]}, "patch_size": 8
/// "channels" is 1 if absent. "scales" has one element per channel, only with "standardise": "data". Throws kFormat with the field's name.
SeriesFacts read_series_facts(Fields& config);
/// Writes "standardise", "scales" and "features" to the "series" of a config.json.
void write_scales(const SeriesFacts& facts, Json& config);

/// Describes the numbers that an input must have, for messages: "128 samples, \"pulse\"".
std::string describe_numbers(const SeriesFacts& facts);
/// Standardises the numbers of an input. Features follow the samples in the first channel; the rest of these columns is 0.
/// Throws kInvalidArgument if the series is missing or a number is not finite, kShape for another count of numbers.
///   numbers: as ModelInput::series   → features f32 [channels, 1, samples + features]
EncodedSide encode_series(const SeriesFacts& facts, const Tensor& numbers);

/// Draws the samples of each channel as a curve on white, from its smallest to its largest value. Time goes to the right, and every item
/// has the same width; the features' part stays white. Throws as encode_series().   → u8 [height, width, 3]
Tensor draw_series(const SeriesFacts& facts, const Tensor& numbers);

}  // namespace clearhead
