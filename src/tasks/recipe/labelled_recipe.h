// The fields of a recipe that describe its labelled examples: the columns of tables, or data that this code splits into folds, cuts
// into passages, or composes into scenes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

/// Random changes of training pictures.
struct Distortion {
  double shift = 0;   // pixels, in each direction
  double rotate = 0;  // degrees, either way
  double zoom = 0;    // largest relative change of the size
  bool flip = false;  // mirrors left and right in every other picture, and independently above and below
  bool any() const { return shift > 0 || rotate > 0 || zoom > 0 || flip; }
};

struct PictureForm;

struct PictureRecipe {
  const PictureForm* form = nullptr;            // picture_data.h
  std::string column{};                         // tables: the column with the pictures
  std::string names{};                          // cifar10: a table of numbers and labels
  PictureResize resize = PictureResize::kNone;  // saved in the model's config, so that it applies wherever the model is used
  Resampling resample = Resampling::kBilinear;
  Distortion distortion{};
};

/// Sounds in one length (sound_data.h).
struct SoundRecipe {
  std::string column{};           // a table's column with the sounds' files; empty: class folders
  bool pad = false, cut = false;  // saved in the model's config, so that they apply wherever the model is used
};

/// Scenes of side × side pictures, and questions about them (scene_data.h).
struct SceneRecipe {
  int64_t side = 3;
  int64_t shrink = 1;                      // a scene's pixel is the mean of shrink × shrink pixels of a picture
  int64_t train = 1, valid = 1, test = 1;  // number of scenes
  int64_t questions = 1;                   // number of questions about each scene
  int64_t fewest = 0;                      // smallest number of pictures in a training scene; 0: every cell has one
  uint64_t seed = 1;
};

/// Files that are split into folds: fold `hold_out` is for testing, the next one for validation, the others for training
/// (parted_data.h).
struct FoldRecipe {
  std::vector<std::string> files{};
  int64_t count = 10, hold_out = 0;
  bool validates = true;  // false: no validation; the next fold is also for training, and the model after the last step is saved
};

/// Passages of books, labelled with their book (parted_data.h).
struct PassageRecipe {
  std::vector<std::string> files{};
  std::string splits{};  // as TextSource::splits
  int64_t words = 100;   // minimum number of words; a passage consists of whole sentences
  std::string names{};   // the word that replaces names of persons and places; empty: names are kept
};

struct LabelledDataRecipe {
  ProblemType problem = ProblemType::kSingleLabel;  // content of the label column: one label, several labels, or a number
  std::string text{}, pair{}, label{};              // columns
  std::vector<std::string> skip{};                  // examples with these labels are left out
  std::optional<FoldRecipe> folds{};
  std::optional<PassageRecipe> passages{};
  std::optional<PictureRecipe> pictures{};  // the examples are pictures, not texts
  std::optional<SoundRecipe> sounds{};      // the examples are sounds
  std::optional<SceneRecipe> scenes{};      // the examples are questions about scenes of these pictures
  /// Returns true if a recipe without validation examples is a mistake.
  bool needs_validation() const { return !folds || folds->validates; }
};

const Schema<FoldRecipe>& fold_schema();
const Schema<PassageRecipe>& passage_schema();
const Schema<PictureRecipe>& picture_schema();
const Schema<SoundRecipe>& sounds_schema();
const Schema<SceneRecipe>& scene_schema();

}  // namespace clearhead::tasks
