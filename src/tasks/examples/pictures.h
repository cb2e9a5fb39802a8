// Labelled pictures in several forms (PictureForm), and their random distortion in training (data augmentation). Values are from 0 to 1.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/network.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

/// Random changes of training pictures.
struct Distortion {
  double shift = 0;   // largest shift in pixels, in each direction
  double rotate = 0;  // largest rotation in degrees, either way
  double zoom = 0;    // largest relative change of the size
  bool flip = false;  // mirrors left-right with probability ½, and independently top-bottom
  bool any() const { return shift > 0 || rotate > 0 || zoom > 0 || flip; }
};

struct PictureForm;

/// "task.pictures"
struct PictureRecipe {
  const PictureForm* form = nullptr;
  std::string column{};                         // tables: the column with the pictures
  std::string names{};                          // cifar10: a table of numbers and labels
  PictureResize resize = PictureResize::kNone;  // saved in the model's config, so that it applies wherever the model is used
  Resampling resample = Resampling::kBilinear;
  Distortion distortion{};
};
const Schema<PictureRecipe>& picture_schema();

/// A form of labelled pictures: "task.pictures.form".
struct PictureForm {
  std::string_view name{}, meaning{};
  bool has_columns = false;  // a table; the recipe gives the columns of pictures and labels
  bool has_names = false;    // labels are numbers; the recipe gives the file with their names
  /// The pictures of a file, or of a folder, in the given size. Throws kNotFound; kFormat and kShape with the location of a picture.
  std::vector<LabelledInput> (*read)(const std::string& file, const Recipe& recipe, const PictureRecipe& pictures,
                                     const PictureFacts& size) = nullptr;
};
const PictureForm& picture_bits();
const PictureForm& picture_files();
const PictureForm& picture_records();
const PictureForm& picture_folder();

/// The size of the pictures that the recipe's model reads, and how pictures of other sizes are resized. Throws kFormat for a
/// config that does not state the size.
PictureFacts pictures_of(const Recipe& recipe, const PictureRecipe& pictures);
/// Randomly shifts, rotates, zooms and flips each picture of [batch, channels, height, width], depending only on seed and number.
/// Values between pixels are interpolated; beyond the edge, the edge pixel is repeated.
void distort(Tensor& pictures, const Distortion& how, uint64_t seed, uint64_t number);

}  // namespace clearhead::tasks
