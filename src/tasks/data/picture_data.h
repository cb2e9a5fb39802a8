// Reads labelled pictures, and distorts them for training (data augmentation).
//
//   "bits"      a table; a cell has the pixels as hexadecimal digits, row by row, the most significant bit leftmost; 1 is ink
//   "cifar10"   records: one byte for the label, then one byte per value, channel by channel, row by row (Krizhevsky 2009)
//   "files"     a table; a cell has the path of a PNG or JPEG file, relative to the data's folder
//
// Values are from 0 to 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/network.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead {

/// The size of the pictures that the recipe's model reads. Throws kFormat for a config that does not state it.
PictureFacts pictures_of(const Recipe& recipe);
/// The pictures of a file, which must have the given size. Throws kNotFound; kFormat with file and line or record; kShape for a
/// picture of another size.
std::vector<LabelledInput> read_pictures(const std::string& file, const Recipe& recipe, const PictureFacts& size);

/// Randomly shifts, rotates, zooms and flips each picture of [batch, channels, height, width], depending only on seed and number.
/// Values between pixels are interpolated; beyond the edge, the edge pixel is repeated.
void distort(Tensor& pictures, const Distortion& how, uint64_t seed, uint64_t number);

}  // namespace clearhead
