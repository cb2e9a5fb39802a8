// Generates questions about scenes from a file of labelled pictures. Each scene is a grid of side × side pictures drawn from the file.
//
//   "what is in the middle?"   "what is in the second row and third column?"   asks about one cell
//   "where is the three?"                                                      the cell of the only 3, as "first row and third column"
//   "what is left of the three?"                                               the cell next to the only 3: two cells matter
//   "how many threes are there?"                                               all cells
//
// In questions, labels that are digits are written as words ("three"), other labels as they are. Answers are labels, counts as words,
// places, or "nothing". Scenes and questions depend only on the recipe's seed for scenes and on the split. In training scenes, each
// picture is distorted independently. With "fewest", half of the training scenes have empty cells: in a scene with a single picture,
// the object of a question is easy to find, and the model learns this first.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"
#include "models/input_picture.h"
#include "tasks/examples/pictures.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

/// Scenes of side × side pictures, and questions about them.
struct SceneRecipe {
  PictureRecipe pictures{};
  int64_t side = 3;
  int64_t shrink = 1;                      // a scene's pixel is the mean of shrink × shrink pixels of a picture
  int64_t train = 1, valid = 1, test = 1;  // number of scenes
  int64_t questions = 1;                   // number of questions about each scene
  int64_t fewest = 0;                      // smallest number of pictures in a training scene; 0: every cell has one
  uint64_t seed = 1;
};

const Schema<SceneRecipe>& scene_schema() {
  using namespace schema;
  static const Schema<SceneRecipe> schema = {
      {{"pictures", "an object", "required", "the pictures of which scenes are composed, with the fields of \"pictures\""},
       [](Fields& fields, SceneRecipe& to) {
         to.pictures = picture_schema().read(fields.require("pictures"), fields.where(), fields.path_of("pictures"));
       }},
      integer("side", &SceneRecipe::side, {2, 5}, "number of pictures along each side of a scene"),
      integer("shrink", &SceneRecipe::shrink, {1}, "a pixel of a scene is the mean of shrink × shrink pixels of a picture"),
      integer("train", &SceneRecipe::train, {1}, "number of training scenes"),
      integer("valid", &SceneRecipe::valid, {1}, "number of validation scenes"),
      integer("test", &SceneRecipe::test, {1}, "number of test scenes"),
      integer("questions", &SceneRecipe::questions, {1}, "number of questions about each scene"),
      {{"fewest", "an integer of 1 or more", "every cell",
        "half of the training scenes may have empty cells: their number of pictures is drawn log-uniformly between this number and all "
        "cells"},
       [](Fields& fields, SceneRecipe& to) {
         const int64_t cells = to.side * to.side;
         to.fewest = read_integer(fields, "fewest", cells, {1});
         if (to.fewest > cells) fields.wrong("fewest", format("at most {}, the number of cells of a scene", cells), Json(to.fewest));
       }},
      {{"seed", "an integer of 0 or more", "1", "seed of the scenes and their questions"},
       [](Fields& fields, SceneRecipe& to) { to.seed = static_cast<uint64_t>(read_integer(fields, "seed", 1, {0})); }},
  };
  return schema;
}

const char* const kNumbers[] = {"zero",       "one",        "two",          "three",       "four",       "five",     "six",
                                "seven",      "eight",      "nine",         "ten",         "eleven",     "twelve",   "thirteen",
                                "fourteen",   "fifteen",    "sixteen",      "seventeen",   "eighteen",   "nineteen", "twenty",
                                "twenty-one", "twenty-two", "twenty-three", "twenty-four", "twenty-five"};
const char* const kPlaces[] = {"first", "second", "third", "fourth", "fifth"};
const char* const kNothing = "nothing";  // the label of an empty cell
struct Relation {
  const char* words;
  int64_t down, right;
};
constexpr Relation kRelations[] = {{"left of", 0, -1}, {"right of", 0, 1}, {"above", -1, 0}, {"below", 1, 0}};

std::string word_of(const std::string& label) {
  const bool is_digit = label.size() == 1 && label[0] >= '0' && label[0] <= '9';
  return is_digit ? kNumbers[label[0] - '0'] : label;
}

struct Question {
  std::string text{}, answer{};
  std::vector<int64_t> cells{};  // the cells that the question is about; empty: all cells
};

struct Scene {
  Tensor picture{};
  std::vector<std::string> words{};  // [cell]
};

class SceneMaker {
 public:
  SceneMaker(const std::string& file, const Recipe& recipe, const SceneRecipe& scenes)
      : recipe_(scenes), size_(pictures_of(recipe, scenes.pictures)) {
    const TaskRecipe& task = *recipe.task;
    const int64_t side = recipe_.side;
    if (size_.height % side != 0 || size_.width % side != 0 || (size_.height / side) % size_.patch != 0 ||
        (size_.width / side) % size_.patch != 0)
      fail(ErrorCode::kInvalidArgument,
           "{}: scenes of {} x {} pixels are divided into {} x {} cells; expected cell sides that are multiples of the patch size ({} "
           "pixels)",
           recipe.where, size_.height, size_.width, side, side, size_.patch);
    cell_ = {.channels = size_.channels,
             .height = size_.height / side,
             .width = size_.width / side,
             .resize = size_.resize,
             .resample = size_.resample};
    PictureFacts drawn = cell_;
    drawn.height *= recipe_.shrink;
    drawn.width *= recipe_.shrink;
    pictures_ = recipe_.pictures.form->read(file, recipe, recipe_.pictures, drawn);
    if (pictures_.empty())
      fail(ErrorCode::kInvalidArgument, "{}/{}: has no pictures; scenes need at least one", recipe.source.folder, file);
    const bool is_training = file == task.train;
    count_ = is_training ? recipe_.train : file == task.valid ? recipe_.valid : recipe_.test;
    seed_ = random_bits(recipe_.seed, is_training ? 0 : file == task.valid ? 1 : 2);
    fewest_ = is_training ? recipe_.fewest : recipe_.side * recipe_.side;
    if (is_training) distortion_ = recipe_.pictures.distortion;
  }

  int64_t count() const { return count_; }

  Scene scene(int64_t number) const {
    const int64_t cells = recipe_.side * recipe_.side;
    RandomSequence random(random_bits(seed_, static_cast<uint64_t>(2 * number)));
    Scene out{.picture = Tensor::zeros({size_.channels, size_.height, size_.width})};
    int64_t left = fewest_ == cells || random.roll(2) == 0 ? cells : some(random);
    for (int64_t cell = 0; cell < cells; ++cell) {
      if (static_cast<int64_t>(random.roll(static_cast<uint64_t>(cells - cell))) >= left) {
        out.words.push_back(kNothing);
        continue;
      }
      --left;
      const LabelledInput& one = pictures_[random.roll(pictures_.size())];
      Shape shape = one.input.picture.shape();
      shape.insert(shape.begin(), 1);
      Tensor moved = one.input.picture.clone().reshape(shape);
      distort(moved, distortion_, seed_, static_cast<uint64_t>(number * cells + cell));
      put(moved, cell / recipe_.side, cell % recipe_.side, out.picture);
      out.words.push_back(word_of(one.label));
    }
    return out;
  }

  std::vector<Question> questions(const Scene& scene, int64_t number) const {
    RandomSequence random(random_bits(seed_, static_cast<uint64_t>(2 * number + 1)));
    std::vector<Question> out;
    while (static_cast<int64_t>(out.size()) < recipe_.questions) {
      const size_t kind = random.roll(10);
      out.push_back(kind < 1   ? what_is_in(scene, random)
                    : kind < 2 ? row_and_column(scene, random)
                    : kind < 5 ? where_is(scene, random)
                    : kind < 8 ? beside(scene, random)
                               : how_many(scene, random));
    }
    return out;
  }

 private:
  // A number of pictures from fewest_ to the number of cells, log-uniformly distributed.
  int64_t some(RandomSequence& random) const {
    const double fewest = static_cast<double>(fewest_), all = static_cast<double>(recipe_.side * recipe_.side);
    return std::lround(fewest * std::pow(all / fewest, static_cast<double>(random.roll(size_t{1} << 30)) * 0x1p-30));
  }
  // Draws a picture into a cell; each pixel is the mean of shrink × shrink pixels.
  void put(const Tensor& from, int64_t row, int64_t column, Tensor& scene) const {
    const int64_t shrink = recipe_.shrink, width = cell_.width * shrink, height = cell_.height * shrink;
    float* to = scene.mutable_data<float>();
    for (int64_t c = 0; c < size_.channels; ++c) {
      for (int64_t y = 0; y < height; ++y) {
        for (int64_t x = 0; x < width; ++x) {
          const int64_t at = (c * size_.height + row * cell_.height + y / shrink) * size_.width + column * cell_.width + x / shrink;
          to[at] += from.data<float>()[(c * height + y) * width + x] / static_cast<float>(shrink * shrink);
        }
      }
    }
  }
  static bool is_single(const Scene& scene, size_t cell) {
    const std::string& word = scene.words[cell];
    return word != kNothing && std::count(scene.words.begin(), scene.words.end(), word) == 1;
  }
  int64_t cell_at(int64_t row, int64_t column) const { return row * recipe_.side + column; }

  Question what_is_in(const Scene& scene, RandomSequence& random) const {
    const int64_t last = recipe_.side - 1, middle = recipe_.side / 2;
    std::vector<std::pair<const char*, int64_t>> places = {{"top left corner", cell_at(0, 0)},
                                                           {"top right corner", cell_at(0, last)},
                                                           {"bottom left corner", cell_at(last, 0)},
                                                           {"bottom right corner", cell_at(last, last)}};
    if (recipe_.side % 2 == 1) places.emplace_back("middle", cell_at(middle, middle));
    const auto& [name, cell] = places[random.roll(places.size())];
    return {format("what is in the {}?", name), scene.words[static_cast<size_t>(cell)], {cell}};
  }
  Question row_and_column(const Scene& scene, RandomSequence& random) const {
    const auto side = static_cast<size_t>(recipe_.side);
    const size_t row = random.roll(side), column = random.roll(side);
    return {format("what is in the {} row and {} column?", kPlaces[row], kPlaces[column]),
            scene.words[row * side + column],
            {static_cast<int64_t>(row * side + column)}};
  }
  // Draws a cell. If its label occurs only once in the scene, asks where that is; else returns a question of what_is_in(). So
  // does beside(), also if the neighbouring cell would be outside the scene.
  Question where_is(const Scene& scene, RandomSequence& random) const {
    const auto side = static_cast<size_t>(recipe_.side);
    const size_t cell = random.roll(scene.words.size());
    if (!is_single(scene, cell)) return what_is_in(scene, random);
    return {format("where is the {}?", scene.words[cell]),
            format("{} row and {} column", kPlaces[cell / side], kPlaces[cell % side]),
            {static_cast<int64_t>(cell)}};
  }
  Question beside(const Scene& scene, RandomSequence& random) const {
    const int64_t of = static_cast<int64_t>(random.roll(scene.words.size()));
    const Relation& relation = kRelations[random.roll(std::size(kRelations))];
    const std::string& word = scene.words[static_cast<size_t>(of)];
    const int64_t row = of / recipe_.side + relation.down, column = of % recipe_.side + relation.right;
    const bool is_inside = row >= 0 && row < recipe_.side && column >= 0 && column < recipe_.side;
    if (!is_inside || !is_single(scene, static_cast<size_t>(of))) return what_is_in(scene, random);
    return {format("what is {} the {}?", relation.words, word),
            scene.words[static_cast<size_t>(cell_at(row, column))],
            {cell_at(row, column), of}};
  }
  Question how_many(const Scene& scene, RandomSequence& random) const {
    std::string word = random.roll(4) > 0 ? scene.words[random.roll(scene.words.size())] : kNothing;
    if (word == kNothing) word = word_of(pictures_[random.roll(pictures_.size())].label);
    const char* const plural = word.ends_with('x') ? "es" : "s";
    return {format("how many {}{} are there?", word, plural), kNumbers[std::count(scene.words.begin(), scene.words.end(), word)]};
  }

  const SceneRecipe& recipe_;
  PictureFacts size_, cell_{};
  Distortion distortion_{};
  std::vector<LabelledInput> pictures_{};
  int64_t count_ = 0;
  int64_t fewest_ = 0;
  uint64_t seed_ = 0;
};

// [layer][patch]: Σ over words of (the word's attention weight in "pool") · (the word's weights on the patch, summed over heads).
std::vector<std::vector<double>> weights_of_patches(const Model& model, const ModelInput& input) {
  Trace trace;
  observe(model, input, trace, {});
  const MapFamily &cross = trace.family("cross"), &pool = trace.family("pool");
  const MapRow of_words = trace.map("pool", 0).row(0, pool.first_query);
  std::vector<std::vector<double>> out;
  for (const int layer : trace.layers("cross")) {
    const LayerMap map = trace.map("cross", layer);
    std::vector<double>& sums = out.emplace_back(static_cast<size_t>(cross.keys));
    for (int64_t head = 0; head < map.heads(); ++head) {
      for (int64_t word = 0; word < cross.queries; ++word) {
        const MapRow row = map.row(head, cross.first_query + word);
        const double share = static_cast<double>(of_words.weights()[static_cast<size_t>(pool.first_key + word)]);
        for (size_t patch = 0; patch < sums.size(); ++patch)
          sums[patch] += share * static_cast<double>(row.weights()[static_cast<size_t>(cross.first_key) + patch]);
      }
    }
  }
  return out;
}

class Scenes final : public Examples {
 public:
  explicit Scenes(SceneRecipe recipe) : settings_(std::move(recipe)) {}

  std::vector<LabelledInput> read(const std::string& file, const Recipe& recipe, LeftOut*) const override {
    const SceneMaker scenes(file, recipe, settings_);
    std::vector<LabelledInput> out;
    for (int64_t number = 0; number < scenes.count(); ++number) {
      const Scene scene = scenes.scene(number);
      for (Question& question : scenes.questions(scene, number))
        out.push_back({{.question = std::move(question.text), .picture = scene.picture},
                       question.answer,
                       format("{}/{}, scene {}", recipe.source.folder, file, number + 1)});
    }
    return out;
  }
  bool has_label_column() const override { return settings_.pictures.form->has_columns; }
  void configure(const Recipe& recipe, Json& model) const override { write_resize(pictures_of(recipe, settings_.pictures), model); }
  std::vector<std::pair<std::string, double>> attention_metrics(const Model& model, const Recipe& recipe) const override {
    return {{"asked_holds_most", share_of_asked(model, recipe)}};
  }

 private:
  // Over the test questions about one or two cells (Question::cells): the share of questions for which one of these cells has the largest
  // weight in a layer of the family "cross" (summed over the layer's heads; words are weighted by their attention in the family "pool").
  // Returns the share of the layer where it is highest.
  double share_of_asked(const Model& model, const Recipe& recipe) const {
    const SceneMaker scenes(recipe.task->test, recipe, settings_);
    const PictureFacts size = pictures_of(recipe, settings_.pictures);
    const int64_t side = settings_.side, height = size.rows() / side, width = size.columns() / side;
    int64_t asked = 0;
    std::vector<int64_t> held;  // [layer] number of questions one of whose cells has the largest weight
    for (int64_t number = 0; number < scenes.count(); ++number) {
      const Scene scene = scenes.scene(number);
      for (const Question& question : scenes.questions(scene, number)) {
        if (question.cells.empty()) continue;
        const auto of_layers = weights_of_patches(model, {.question = question.text, .picture = scene.picture});
        ++asked;
        held.resize(of_layers.size());
        for (size_t layer = 0; layer < of_layers.size(); ++layer) {
          std::vector<double> of_cells(scene.words.size());
          for (int64_t patch = 0; patch < size.patches(); ++patch)
            of_cells[static_cast<size_t>(patch / size.columns() / height * side + patch % size.columns() / width)] +=
                of_layers[layer][static_cast<size_t>(patch)];
          const int64_t most = std::max_element(of_cells.begin(), of_cells.end()) - of_cells.begin();
          held[layer] += std::find(question.cells.begin(), question.cells.end(), most) != question.cells.end();
        }
      }
    }
    if (held.empty()) return 0;
    return static_cast<double>(*std::max_element(held.begin(), held.end())) / static_cast<double>(asked);
  }

  SceneRecipe settings_;
};

}  // namespace

const ExampleKind& scenes_examples() {
  static const ExampleKind kind = {
      .name = "scenes",
      .reads = "scene",
      .meaning = "questions about scenes that are composed of labelled pictures",
      .counted = "questions",
      .arguments = "FILE.png --question \"…\"",
      .fields = fields_of<scene_schema>,
      .make = make_examples<Scenes, scene_schema>,
  };
  return kind;
}

}  // namespace clearhead::tasks
