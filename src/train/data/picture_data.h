// Labelled pictures, and how they are moved in training.
//
//   "bits"      a table; a cell of hex figures holds the pixels row by row, the most significant bit leftmost, 1 is ink
//   "cifar10"   records of a byte for the label and a byte for each value, channel by channel, row by row (Krizhevsky 2009)
//   "files"     a table; a cell holds the path of a PNG or JPEG file, from the data's folder
//
// Values are from 0 to 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/network.h"
#include "train/data/input_data.h"
#include "train/recipe.h"

namespace clearhead {

/// The pictures that the recipe's model reads. Throws kFormat for a config that does not say it.
PictureFacts pictures_of(const Recipe& recipe);
/// The pictures of a file, of the given size. Throws kNotFound; kFormat with file and line or record; kShape for one of another size.
std::vector<LabelledInput> read_pictures(const std::string& file, const Recipe& recipe, const PictureFacts& size);

/// Shifts, turns, zooms and flips each picture of [batch, channels, height, width] by its own draw, a function of seed and number.
/// Values between pixels are interpolated; beyond the edge stands the edge.
void distort(Tensor& pictures, const Distortion& how, uint64_t seed, uint64_t number);

}  // namespace clearhead
