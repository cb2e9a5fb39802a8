// Room: io.
// Sound and pictures from files, as tensors that models and Training read.
//
//   Sound sound = read_sound("seven.wav");                       // [channels, frames] at sound.rate frames a second
//   Tensor photo = read_image("cat.jpg");                        // [3, height, width]
//
// Functions may be called from any thread.
#pragma once

#include <cstdint>
#include <string>

#include "clearhead/tensor.h"

namespace clearhead {

struct Sound {
  Tensor samples{};  ///< f32 [channels, frames], from −1 to 1
  int64_t rate = 0;  ///< frames a second
};

/// Frames [begin, begin + count) of a file in any format libsndfile reads (WAV, AIFF, FLAC, Ogg …), to its end where count is negative; nothing else of the
/// file is decoded. Whole numbers become numbers from −1 to 1. A WAV file that was cut off is read as far as it goes, as libsndfile does.
/// Throws kNotFound, kFormat for what is no sound, kInvalidArgument for frames the file has not, kBudget for more than 2³¹ samples.
Sound read_sound(const std::string& path, int64_t begin = 0, int64_t count = -1);

/// f32 [channels, height, width], from 0 to 1, of a PNG or JPEG file, told by its first bytes: 1 channel where it is grey, else 3 (sRGB). Opacity is dropped,
/// 16 bits become 8. Throws kNotFound or kIo, kFormat for other files and damaged ones, kBudget for more than 2²⁸ pixels.
Tensor read_image(const std::string& path);

}  // namespace clearhead
