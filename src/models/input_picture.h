// Encodes pictures for a network, and adds their patches as the items of attention maps.
#pragma once

#include <string>

#include "clearhead/model.h"
#include "models/config.h"
#include "models/encoded_input.h"
#include "models/network.h"

namespace clearhead {

/// Reads the size of a model's pictures from config.json: "num_channels", "image_size" (one side, or [height, width]) and
/// "patch_size", which must divide both sides. Throws kFormat with the field's name.
PictureFacts read_picture_facts(Fields& config);
/// Sets NetworkFacts::picture from config.json.
void read_picture_config(Fields& config, NetworkFacts& to);

/// Reads a picture file for a model. A picture whose size differs from that in config.json is refused before it is decoded, by
/// the header of the file. Throws as read_image().
Tensor read_picture(const ModelInfo& info, const std::string& path);

/// Encodes a picture. A grey picture is repeated in all channels. Throws kInvalidArgument if the picture is missing or a pixel is
/// not finite, kShape for another size.   picture: f32 [channels, height, width]
EncodedSide encode_picture(const NetworkFacts& facts, const Tensor& picture);
/// Adds an item for each patch in row-major order, and the picture from which the patches were cut.
void add_patches(RunText& to, const NetworkFacts& facts, const Tensor& picture);

}  // namespace clearhead
