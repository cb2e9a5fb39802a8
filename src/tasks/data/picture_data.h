// Labelled pictures in several forms, each of which is one file, and their distortion for training (data augmentation). Values are from 0
// to 1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/network.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {

/// A form of labelled pictures: "task.pictures.form".
struct PictureForm {
  std::string_view name{}, meaning{};
  bool has_columns = false;  // a table; the recipe gives the columns of pictures and labels
  bool has_names = false;    // labels are numbers; the recipe gives the file with their names
  /// The pictures of a file, or of a folder, in the given size. Throws kNotFound; kFormat and kShape with the location of a picture.
  std::vector<LabelledInput> (*read)(const std::string& file, const Recipe& recipe, const PictureFacts& size) = nullptr;
};
const PictureForm& picture_bits();
const PictureForm& picture_files();
const PictureForm& picture_records();
const PictureForm& picture_folder();
const std::vector<const PictureForm*>& picture_forms();

/// The size of the pictures that the recipe's model reads, and how the recipe resizes others. Throws kFormat for a config that does not
/// state the size.
PictureFacts pictures_of(const Recipe& recipe);
/// Reads pictures in the recipe's form. Throws as PictureForm::read.
std::vector<LabelledInput> read_pictures(const std::string& file, const Recipe& recipe, const PictureFacts& size);

/// Randomly shifts, rotates, zooms and flips each picture of [batch, channels, height, width], depending only on seed and number.
/// Values between pixels are interpolated; beyond the edge, the edge pixel is repeated.
void distort(Tensor& pictures, const Distortion& how, uint64_t seed, uint64_t number);

}  // namespace clearhead::tasks
