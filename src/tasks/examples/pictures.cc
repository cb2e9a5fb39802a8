// Labelled pictures in several forms, and their distortion for training (data augmentation).
#include "tasks/examples/pictures.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/random.h"
#include "models/input_picture.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

const std::vector<const PictureForm*>& picture_forms() {
  static const std::vector<const PictureForm*> forms = {&picture_bits(), &picture_records(), &picture_files(), &picture_folder()};
  return forms;
}

const Schema<Distortion>& distortion_schema() {
  using namespace schema;
  static const Schema<Distortion> schema = {
      number("shift", &Distortion::shift, {0, 4096}, "largest shift in pixels, in each direction"),
      number("rotate", &Distortion::rotate, {0, 180}, "largest rotation in degrees, either way"),
      number("zoom", &Distortion::zoom, {0, 0.5}, "largest relative change of the size"),
      boolean("flip", &Distortion::flip, "flip each picture horizontally and, independently, vertically, each with probability 0.5"),
  };
  return schema;
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const PictureForm* form : picture_forms()) names.emplace_back(form->name);
  return names;
}

std::string form_meanings() {
  std::string out;
  for (const PictureForm* form : picture_forms()) out += format("{}{}: {}", out.empty() ? "" : " · ", form->name, form->meaning);
  return out;
}

void read_form(Fields& fields, PictureRecipe& to) {
  const std::string given = fields.string("form");
  for (const PictureForm* form : picture_forms()) {
    if (form->name == given) to.form = form;
  }
  if (!to.form) fields.wrong("form", schema::alternatives(form_names()), Json(given));
}

class Pictures final : public Examples {
 public:
  explicit Pictures(PictureRecipe recipe) : settings_(std::move(recipe)) {}
  std::vector<LabelledInput> read(const std::string& file, const Recipe& recipe, LeftOut*) const override {
    return settings_.form->read(file, recipe, settings_, pictures_of(recipe, settings_));
  }
  bool has_label_column() const override { return settings_.form->has_columns; }
  void configure(const Recipe& recipe, Json& model) const override { write_resize(pictures_of(recipe, settings_), model); }
  void augment(Tensor& pictures, uint64_t seed, uint64_t number) const override { distort(pictures, settings_.distortion, seed, number); }

 private:
  PictureRecipe settings_;
};

}  // namespace

const Schema<PictureRecipe>& picture_schema() {
  using namespace schema;
  static const Schema<PictureRecipe> schema = {
      {{"form", alternatives(form_names()), "required", form_meanings()}, read_form},
      column("column", &PictureRecipe::column, true, "bits, files: the column with the pictures; \"label\" is the column with the labels")
          .when([](const PictureRecipe& to) { return to.form->has_columns; }),
      required_string("names", &PictureRecipe::names, "cifar10: the file with the number and the name of each class, as in \"0<TAB>cat\"")
          .when([](const PictureRecipe& to) { return to.form->has_names; }),
      choice(
          "resize", &PictureRecipe::resize, resize_names(),
          "pictures whose size differs from the model's are refused (none), stretched to that size (stretch), or scaled to fit into it and "
          "padded with black (fit); saved with the model"),
      choice("resample", &PictureRecipe::resample, resampling_names(), "the resampling filter of \"resize\", with antialiasing, as in PIL")
          .when([](const PictureRecipe& to) { return to.resize != PictureResize::kNone; }),
      object("distort", &PictureRecipe::distortion, distortion_schema(), "data augmentation: random changes to the training pictures"),
  };
  return schema;
}

const ExampleKind& pictures_examples() {
  static const ExampleKind kind = {
      .name = "pictures",
      .reads = "picture",
      .meaning = "for a model that reads pictures",
      .counted = "pictures",
      .arguments = "FILE.png",
      .fields = fields_of<picture_schema>,
      .make = make_examples<Pictures, picture_schema>,
  };
  return kind;
}

PictureFacts pictures_of(const Recipe& recipe, const PictureRecipe& pictures) {
  Fields model(recipe.model, recipe.where, "model");
  PictureFacts facts = read_picture_facts(model);
  if (pictures.resize != PictureResize::kNone) {
    facts.resize = pictures.resize;
    facts.resample = pictures.resample;
  }
  return facts;
}

void distort(Tensor& pictures, const Distortion& how, uint64_t seed, uint64_t number) {
  if (!how.any()) return;
  const int64_t channels = pictures.size(1), height = pictures.size(2), width = pictures.size(3), plane = height * width;
  const Tensor from = pictures.clone();
  float* to = pictures.mutable_data<float>();
  for (int64_t at = 0; at < pictures.size(0); ++at) {
    uint64_t draws = (number << 20 | static_cast<uint64_t>(at)) * 8;
    const auto draw = [&](double most) { return (2 * random_unit(seed, draws++) - 1) * most; };
    const double down = draw(how.shift), right = draw(how.shift), angle = draw(how.rotate) * M_PI / 180, scale = 1 + draw(how.zoom);
    const double upright = how.flip && draw(1) < 0 ? -1 : 1, mirrored = how.flip && draw(1) < 0 ? -1 : 1;
    const double cosine = std::cos(angle) / scale, sine = std::sin(angle) / scale;
    const double middle_y = static_cast<double>(height - 1) / 2, middle_x = static_cast<double>(width - 1) / 2;
    for (int64_t pixel = 0; pixel < plane; ++pixel) {
      const int64_t row = pixel / width, column = pixel % width;
      const double y = static_cast<double>(row) - middle_y - down, x = static_cast<double>(column) - middle_x - right;
      const double source_y = std::clamp(middle_y + upright * (cosine * y + sine * x), 0.0, static_cast<double>(height - 1));
      const double source_x = std::clamp(middle_x + mirrored * (cosine * x - sine * y), 0.0, static_cast<double>(width - 1));
      const auto top = static_cast<int64_t>(source_y), left = static_cast<int64_t>(source_x);
      const int64_t below = std::min(top + 1, height - 1), beside = std::min(left + 1, width - 1);
      const auto share_y = static_cast<float>(source_y - static_cast<double>(top)),
                 share_x = static_cast<float>(source_x - static_cast<double>(left));
      for (int64_t c = 0; c < channels; ++c) {
        const float* p = from.data<float>() + (at * channels + c) * plane;
        const float above = p[top * width + left] * (1 - share_x) + p[top * width + beside] * share_x;
        const float under = p[below * width + left] * (1 - share_x) + p[below * width + beside] * share_x;
        to[(at * channels + c) * plane + pixel] = above * (1 - share_y) + under * share_y;
      }
    }
  }
}

}  // namespace clearhead::tasks
