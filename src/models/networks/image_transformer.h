// The Image Transformer, and the symbols of the patches that it reads and predicts.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/networks/networks.h"

namespace clearhead {

/// True for the model type of this network, which draws pictures of its labels.
bool draws(std::string_view model_type);
/// The symbol of each patch of black and white pictures, in raster order: bit i is 1 if pixel i of the patch is ink, that is, at least ½.
/// pictures: f32 [batch, 1, height, width] → [batch·patch], from 0 to 2^(patch_size²) − 1
std::vector<int32_t> patch_symbols(const PictureFacts& facts, const Tensor& pictures);
/// The number of symbols, 2^(patch_size²).
inline int64_t symbol_count(const PictureFacts& facts) { return int64_t{1} << (facts.patch * facts.patch); }
/// Writes the pixels of a symbol into a patch of a picture, as 0 and 1.   picture: f32 [1, height, width]
void paint_symbol(const PictureFacts& facts, int32_t symbol, int64_t patch, float* picture);

}  // namespace clearhead
