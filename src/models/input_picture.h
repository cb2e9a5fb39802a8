// Encodes a picture, and describes its patches as the items of its maps.
#pragma once

#include <string>

#include "clearhead/model.h"
#include "models/config.h"
#include "models/encoded_input.h"
#include "models/network.h"

namespace clearhead {

/// The pictures that a config.json describes: "num_channels", "image_size" (a side, or [height, width]) and "patch_size", a divisor of
/// both. Throws kFormat, naming the field.
PictureFacts read_picture_facts(Fields& config);
/// Sets NetworkFacts::picture from a config.
void read_picture_config(Fields& config, NetworkFacts& to);

/// Reads a picture file for a model. A picture of another size than config.json says is refused by the file's header, before it is
/// decoded. Throws as read_image().
Tensor read_picture(const ModelInfo& info, const std::string& path);

/// A grey picture is repeated in all channels. Throws kInvalidArgument for a missing picture and for pixels that are not finite, kShape for
/// another size.   picture: f32 [channels, height, width]
EncodedSide encode_picture(const NetworkFacts& facts, const Tensor& picture);
/// Adds an item for each patch, row by row, with the picture behind them.
void add_patches(RunText& to, const NetworkFacts& facts, const Tensor& picture);

}  // namespace clearhead
