// Pictures with the boxes of their objects: scenes that are composed of pictures of single objects, or a user's own pictures with a table
// of boxes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "metrics/detection.h"
#include "models/network.h"
#include "tasks/examples/pictures.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

struct Recipe;

/// "task.scenes": objects from a file of labelled pictures, at random places of an empty picture.
struct PlacedRecipe {
  PictureRecipe pictures{};
  int64_t size = 32;   // side of the pictures of objects, in pixels
  int64_t shrink = 1;  // a pixel of a scene is the mean of shrink × shrink pixels of a picture
  int64_t fewest = 1, most = 5;
  double overlap = 0.1;  // largest share of an object's box that another box covers
  int64_t train = 1000, valid = 100, test = 100;
  uint64_t seed = 1;
};
const Schema<PlacedRecipe>& placed_schema();

/// "task.boxes": the columns of a table with one row for each box.
struct BoxColumns {
  std::string file = "file", label = "label", x = "x", y = "y", width = "width", height = "height";
};
const Schema<BoxColumns>& box_columns_schema();

/// A picture with its objects. Boxes are shares of the picture's width and height.
struct PictureWithBoxes {
  Tensor picture{};  // f32 [channels, height, width]
  std::vector<metrics::LabelledBox> objects{};
  std::string where{};  // for messages
};

/// Composes scenes. Scene `number` depends only on the recipe's seed and the number.
class PlacedScenes {
 public:
  /// Reads the pictures of a file. is_training: pictures are distorted. Throws kNotFound; kFormat with file, line and column; and
  /// kInvalidArgument for pictures that are larger than a scene.
  PlacedScenes(const std::string& file, const Recipe& recipe, const PlacedRecipe& scenes, bool is_training);
  PictureWithBoxes scene(uint64_t seed, uint64_t number) const;

 private:
  struct Placed;
  std::optional<Placed> placed(RandomSequence& random, uint64_t seed, uint64_t number) const;
  void put(const Placed& object, PictureWithBoxes& to) const;

  const Recipe& where_;
  PlacedRecipe recipe_;
  PictureFacts size_{};
  Distortion distortion_{};
  std::vector<LabelledInput> pictures_{};
  std::vector<int32_t> labels_{};  // [picture]
};

/// The labels of the training file, sorted. Throws whatever reading it throws.
std::vector<std::string> labels_of_scenes(const Recipe& recipe, const PlacedRecipe& scenes);
std::vector<std::string> labels_of_boxes(const Recipe& recipe, const BoxColumns& columns);

/// Reads a table of boxes in pixels (x, y: the upper left corner) and its pictures, which are resized as the model says. A row whose label
/// and numbers are empty names a picture without objects. Throws kNotFound, and kFormat and kShape with file, line and column.
std::vector<PictureWithBoxes> read_boxes(const std::string& file, const Recipe& recipe, const BoxColumns& columns);

}  // namespace clearhead::tasks
