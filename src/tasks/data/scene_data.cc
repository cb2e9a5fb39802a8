// Composes scenes of several pictures, and generates questions and answers about them.
#include "tasks/data/scene_data.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"
#include "tasks/data/picture_data.h"

namespace clearhead::tasks {
namespace {

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

class Scenes {
 public:
  Scenes(const std::string& file, const Recipe& recipe) : recipe_(*recipe.task->data.scenes), size_(pictures_of(recipe)) {
    const TaskRecipe& task = *recipe.task;
    const int64_t side = recipe_.side;
    if (size_.height % side != 0 || size_.width % side != 0 || (size_.height / side) % size_.patch != 0 ||
        (size_.width / side) % size_.patch != 0)
      fail(ErrorCode::kInvalidArgument, "{}: scenes of {} x {} pixels in {} x {} cells; expected cells of whole patches ({} pixels)",
           recipe.where, size_.height, size_.width, side, side, size_.patch);
    cell_ = {.channels = size_.channels,
             .height = size_.height / side,
             .width = size_.width / side,
             .resize = size_.resize,
             .resample = size_.resample};
    PictureFacts drawn = cell_;
    drawn.height *= recipe_.shrink;
    drawn.width *= recipe_.shrink;
    pictures_ = read_pictures(file, recipe, drawn);
    if (pictures_.empty()) fail(ErrorCode::kInvalidArgument, "{}/{}: has no pictures to make scenes of", recipe.source.folder, file);
    const bool is_training = file == task.train;
    count_ = is_training ? recipe_.train : file == task.valid ? recipe_.valid : recipe_.test;
    seed_ = random_bits(recipe_.seed, is_training ? 0 : file == task.valid ? 1 : 2);
    fewest_ = is_training ? recipe_.fewest : recipe_.side * recipe_.side;
    if (is_training) distortion_ = task.data.pictures->distortion;
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
  // Asks about a picture whose label occurs once in the scene; if there is none, another kind of question is returned. The same
  // holds for beside().
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

// [layer][patch]: Σ over words of (the word's attention weight in "pool") · (the word's weight on the patch, mean of the heads).
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

}  // namespace

std::vector<LabelledInput> read_scenes(const std::string& file, const Recipe& recipe) {
  const Scenes scenes(file, recipe);
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

double share_of_asked(const Model& model, const Recipe& recipe) {
  const Scenes scenes(recipe.task->test, recipe);
  const PictureFacts size = pictures_of(recipe);
  const int64_t side = recipe.task->data.scenes->side, height = size.rows() / side, width = size.columns() / side;
  int64_t asked = 0;
  std::vector<int64_t> held;  // [layer] number of questions whose cell has the largest weight
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

}  // namespace clearhead::tasks
