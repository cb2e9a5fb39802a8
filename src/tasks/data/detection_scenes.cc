// Scenes for object detection, composed of pictures of single objects.
#include <algorithm>
#include <array>
#include <set>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/input_picture.h"
#include "tasks/data/detection_data.h"
#include "tasks/data/input_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

constexpr float kInk = 0.2F;  // a pixel with at least this value is part of an object
constexpr int kTries = 50;    // random positions to try for an object; if all are covered, the object is skipped

// The pictures of objects. Throws kInvalidArgument if their sizes do not fit.
PictureFacts object_facts(const Recipe& recipe, const PlacedRecipe& scenes) {
  PictureFacts out = pictures_of(recipe, scenes.pictures);
  const int64_t side = scenes.size / scenes.shrink;
  if (scenes.size % scenes.shrink != 0 || side > out.height || side > out.width)
    fail(ErrorCode::kInvalidArgument,
         "{}: \"task.scenes\": pictures of {} pixels, shrunk by {}; expected a divisor of {}, and objects that fit into scenes of {} x {} "
         "pixels",
         recipe.where, scenes.size, scenes.shrink, scenes.size, out.height, out.width);
  out.height = out.width = scenes.size;
  return out;
}

}  // namespace

const Schema<PlacedRecipe>& placed_schema() {
  using namespace schema;
  using R = PlacedRecipe;
  static const Schema<R> schema = {
      {{"pictures", "an object", "required", "the pictures of objects, with the fields of \"pictures\" of the task \"classification\""},
       [](Fields& fields, R& to) {
         to.pictures = picture_schema().read(fields.require("pictures"), fields.where(), fields.path_of("pictures"));
       }},
      integer<R>("size", &R::size, {1, 4096}, "side of the pictures of objects, in pixels"),
      integer<R>("shrink", &R::shrink, {1, 4096}, "a pixel of a scene is the mean of shrink × shrink pixels of a picture"),
      integer<R>("fewest", &R::fewest, {0, 1000}, "smallest number of objects in a scene"),
      integer<R>("most", &R::most, {1, 1000}, "largest number of objects in a scene"),
      number<R>("overlap", &R::overlap, {0, 1}, "largest share of an object's box that another object's box may cover"),
      integer<R>("train", &R::train, {1}, "number of training scenes in an epoch; each epoch has new scenes"),
      integer<R>("valid", &R::valid, {1}, "number of validation scenes"),
      integer<R>("test", &R::test, {1}, "number of test scenes"),
      {{"seed", "an integer of 0 or more", "1", "seed of the scenes"},
       [](Fields& fields, R& to) { to.seed = static_cast<uint64_t>(read_integer(fields, "seed", 1, {0})); }},
  };
  return schema;
}

// An object of a scene: its downscaled picture, and the bounding box of its ink.
struct PlacedScenes::Placed {
  int32_t label = 0;
  Tensor picture{};                                  // [channels, height, width]
  int64_t top = 0, left = 0, height = 0, width = 0;  // of the ink, in the picture
  int64_t row = 0, column = 0;                       // of the ink, in the scene
};

PlacedScenes::PlacedScenes(const std::string& file, const Recipe& recipe, const PlacedRecipe& scenes, bool is_training)
    : where_(recipe), recipe_(scenes), size_(pictures_of(recipe, scenes.pictures)) {
  if (scenes.fewest > scenes.most)
    fail(ErrorCode::kInvalidArgument, "{}: \"task.scenes\": \"fewest\" is {}, but \"most\" is {}", recipe.where, scenes.fewest,
         scenes.most);
  pictures_ = scenes.pictures.form->read(file, recipe, scenes.pictures, object_facts(recipe, scenes));
  if (pictures_.empty()) fail(ErrorCode::kInvalidArgument, "{}/{}: has no pictures; scenes need at least one", recipe.source.folder, file);
  for (const LabelledInput& one : pictures_) labels_.push_back(recipe.task->id_of(one.label, one.where));
  if (is_training) distortion_ = scenes.pictures.distortion;
}

PictureWithBoxes PlacedScenes::scene(uint64_t seed, uint64_t number) const {
  RandomSequence random(random_bits(random_bits(recipe_.seed, seed), number));
  PictureWithBoxes out{.picture = Tensor::zeros({size_.channels, size_.height, size_.width}),
                       .where = format("{}, scene {}", where_.where, number + 1)};
  const int64_t count = recipe_.fewest + static_cast<int64_t>(random.roll(static_cast<size_t>(recipe_.most - recipe_.fewest + 1)));
  std::vector<Placed> objects;
  for (int64_t at = 0; at < count; ++at) {
    std::optional<Placed> one = placed(random, random_bits(seed, number), static_cast<uint64_t>(at));
    if (!one) continue;
    // Returns whether another box covers too much of this one, or this one of the other.
    const auto is_covered = [&](const Placed& other) {
      const int64_t high = std::min(one->row + one->height, other.row + other.height) - std::max(one->row, other.row),
                    wide = std::min(one->column + one->width, other.column + other.width) - std::max(one->column, other.column);
      if (high <= 0 || wide <= 0) return false;
      const int64_t smaller = std::min(one->height * one->width, other.height * other.width);
      return static_cast<double>(high * wide) > recipe_.overlap * static_cast<double>(smaller);
    };
    for (int attempt = 0; attempt < kTries; ++attempt) {
      one->row = static_cast<int64_t>(random.roll(static_cast<size_t>(size_.height - one->height + 1)));
      one->column = static_cast<int64_t>(random.roll(static_cast<size_t>(size_.width - one->width + 1)));
      if (std::any_of(objects.begin(), objects.end(), is_covered)) continue;
      put(*one, out);
      objects.push_back(std::move(*one));
      break;
    }
  }
  return out;
}

// Chooses a random picture and downscales it. Returns nothing for a picture without ink.
std::optional<PlacedScenes::Placed> PlacedScenes::placed(RandomSequence& random, uint64_t seed, uint64_t number) const {
  const size_t chosen = random.roll(pictures_.size());
  const int64_t channels = size_.channels, shrink = recipe_.shrink, side = recipe_.size / shrink;
  Tensor large = pictures_[chosen].input.picture.clone().reshape({1, channels, recipe_.size, recipe_.size});
  distort(large, distortion_, seed, number);
  Placed out{.label = labels_[chosen], .picture = Tensor::zeros({channels, side, side}), .top = side, .left = side};
  float* to = out.picture.mutable_data<float>();
  int64_t bottom = -1, right = -1;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t pixel = 0; pixel < recipe_.size * recipe_.size; ++pixel) {
      const int64_t row = pixel / recipe_.size / shrink, column = pixel % recipe_.size / shrink;
      to[(c * side + row) * side + column] +=
          large.data<float>()[c * recipe_.size * recipe_.size + pixel] / static_cast<float>(shrink * shrink);
    }
    for (int64_t pixel = 0; pixel < side * side; ++pixel) {
      if (to[c * side * side + pixel] < kInk) continue;
      out.top = std::min(out.top, pixel / side);
      out.left = std::min(out.left, pixel % side);
      bottom = std::max(bottom, pixel / side);
      right = std::max(right, pixel % side);
    }
  }
  if (bottom < 0) return std::nullopt;
  out.height = bottom + 1 - out.top;
  out.width = right + 1 - out.left;
  return out;
}

// Where objects overlap, the brighter pixel is kept.
void PlacedScenes::put(const Placed& object, PictureWithBoxes& to) const {
  const int64_t side = object.picture.size(1);
  for (int64_t c = 0; c < size_.channels; ++c) {
    for (int64_t row = 0; row < object.height; ++row) {
      for (int64_t column = 0; column < object.width; ++column) {
        float& pixel = to.picture.mutable_data<float>()[(c * size_.height + object.row + row) * size_.width + object.column + column];
        pixel = std::max(pixel, object.picture.data<float>()[(c * side + object.top + row) * side + object.left + column]);
      }
    }
  }
  const auto wide = static_cast<double>(size_.width), high = static_cast<double>(size_.height);
  to.objects.push_back({.label = object.label,
                        .box = {(static_cast<double>(object.column) + static_cast<double>(object.width) / 2) / wide,
                                (static_cast<double>(object.row) + static_cast<double>(object.height) / 2) / high,
                                static_cast<double>(object.width) / wide, static_cast<double>(object.height) / high}});
}

std::vector<std::string> labels_of_scenes(const Recipe& recipe, const PlacedRecipe& scenes) {
  std::set<std::string> out;
  for (const LabelledInput& one : scenes.pictures.form->read(recipe.task->train, recipe, scenes.pictures, object_facts(recipe, scenes)))
    out.insert(one.label);
  return {out.begin(), out.end()};
}

}  // namespace clearhead::tasks
