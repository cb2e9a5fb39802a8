// Encodes pictures for a network, and adds their patches as the items of attention maps.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/data.h"
#include "clearhead/model.h"
#include "models/config.h"
#include "models/encoded_input.h"
#include "models/network.h"

namespace clearhead {

/// The values of "resize" and "resample", which config.json and recipes share. The first is the default.
const std::vector<std::pair<std::string, PictureResize>>& resize_names();
const std::vector<std::pair<std::string, Resampling>>& resampling_names();

/// Reads the size of a model's pictures from config.json: "num_channels", "image_size" (one side, or [height, width]) and
/// "patch_size", which must divide both sides; "resize" and "resample". Throws kFormat with the field's name.
PictureFacts read_picture_facts(Fields& config);
/// Writes "resize" and "resample" to a config.json, unless pictures are not resized.
void write_resize(const PictureFacts& facts, Json& config);
/// Sets NetworkFacts::picture from config.json.
void read_picture_config(Fields& config, NetworkFacts& to);

/// Reads the height and width of a picture from the header of its file. Throws as read_image().
std::array<int64_t, 2> picture_size(const std::string& path);
/// Reads a picture file and resizes it as the facts say. With PictureResize::kNone, a picture of another size is refused: its size
/// is read from the file's header, before the file is decoded. A grey picture is repeated in all channels. Throws as read_image(),
/// and kShape.
/// → f32 [channels, height, width]
Tensor read_picture(const PictureFacts& facts, const std::string& path);
/// The same with the size in a model's config.json.
Tensor read_picture(const ModelInfo& info, const std::string& path);

/// The position of a picture after it has been resized as the facts say: pixel x of the picture is at x·scale + offset.
struct PictureScale {
  double x = 1, y = 1, left = 0, top = 0;
};
PictureScale picture_scale(const PictureFacts& facts, int64_t height, int64_t width);

/// Encodes a picture, which is resized as the facts say. A grey picture is repeated in all channels. Throws kInvalidArgument if the
/// picture is missing or a pixel is not finite, kShape for another size.   picture: f32 [channels, height, width]
EncodedSide encode_picture(const NetworkFacts& facts, const Tensor& picture);
/// Fills a patch of `picture`, in each channel, with the mean of that channel in `read`, the picture before any masking.
/// Both: f32 [channels, height, width]
void mask_patch(const NetworkFacts& facts, int64_t patch, const Tensor& read, Tensor& picture);
/// Adds an item for each patch in row-major order, and the picture from which the patches were cut.
void add_patches(RunText& to, const NetworkFacts& facts, const Tensor& picture);

}  // namespace clearhead
