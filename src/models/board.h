// Draws the observations of an episode: one tile for each step, in reading order. The cells of a tile are the first words of the observation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clearhead/tensor.h"
#include "models/config.h"
#include "models/network.h"

namespace clearhead {

/// Reads "board" of a config.json: {"rows": 3, "columns": 3, "colours": {"wall": "#444444", …}}. Nothing if it is absent. Throws kFormat
/// with the field's name.
std::optional<BoardFacts> read_board(Fields& config);
Json json_of(const BoardFacts& facts);

struct DrawnSteps {
  Tensor picture{};  ///< u8 [height, width, 3]
  Tensor boxes{};    ///< f32 [observation, 4]: left, top, width and height of its tile, in pixels
};
/// Words without a colour are grey. Nothing if the picture would have a side of more than 4,096 pixels, which no ItemRange can hold.
std::optional<DrawnSteps> draw_steps(const BoardFacts& facts, const std::vector<std::string>& observations);

}  // namespace clearhead
