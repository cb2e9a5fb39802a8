// Where a recipe's labelled examples are: the columns of tables, or data that this code splits, cuts or composes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "train/schema.h"

namespace clearhead {

/// Random changes of training pictures.
struct Distortion {
  double shift = 0;   // pixels, in each direction
  double rotate = 0;  // degrees, either way
  double zoom = 0;    // share of the size, larger or smaller
  bool flip = false;  // mirrors left and right in every other picture, and independently above and below
  bool any() const { return shift > 0 || rotate > 0 || zoom > 0 || flip; }
};

/// How files hold pictures (picture_data.h).
struct PictureRecipe {
  std::string form{};    // "bits", "cifar10" or "files"
  std::string column{};  // bits and files: the column of pictures
  std::string names{};   // cifar10: a table of number and label
  Distortion distortion{};
};

/// Scenes of side × side pictures, and questions about them (scene_data.h).
struct SceneRecipe {
  int64_t side = 3;
  int64_t shrink = 1;                      // pixels of a picture on a side of a scene's pixel
  int64_t train = 1, valid = 1, test = 1;  // number of scenes
  int64_t questions = 1;                   // about each scene
  int64_t fewest = 0;                      // fewest pictures in a training scene; 0: every cell has one
  uint64_t seed = 1;
};

/// Files that are split into folds: fold `hold_out` tests, the next one validates, the others train (parted_data.h).
struct FoldRecipe {
  std::vector<std::string> files{};
  int64_t count = 10, hold_out = 0;
  bool validates = true;  // false: the next fold trains too, and the model after the last step is the best
};

/// Passages of books, whose label is their book (parted_data.h).
struct PassageRecipe {
  std::vector<std::string> files{};
  std::string splits{};  // as TextSource::splits
  int64_t words = 100;   // at least, in whole sentences
  std::string names{};   // replaces names of persons and places; empty: names stay
};

struct LabelledDataRecipe {
  ProblemType problem = ProblemType::kSingleLabel;  // what the label column holds: a label, several, or a number
  std::string text{}, pair{}, label{};              // columns
  std::vector<std::string> skip{};                  // examples with these labels are left out
  std::optional<FoldRecipe> folds{};
  std::optional<PassageRecipe> passages{};
  std::optional<PictureRecipe> pictures{};  // the examples are pictures, not texts
  std::optional<SceneRecipe> scenes{};      // the examples are questions about scenes of these pictures
  /// Returns true if a recipe without validation examples is a mistake.
  bool needs_validation() const { return !folds || folds->validates; }
};

const Schema<FoldRecipe>& fold_schema();
const Schema<PassageRecipe>& passage_schema();
const Schema<PictureRecipe>& picture_schema();
const Schema<SceneRecipe>& scene_schema();

}  // namespace clearhead
