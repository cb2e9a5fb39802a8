// Lists the forms of labelled pictures, and resamples the pixels of a distorted picture.
#include "tasks/data/picture_data.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "models/input_picture.h"

namespace clearhead::tasks {

const std::vector<const PictureForm*>& picture_forms() {
  static const std::vector<const PictureForm*> forms = {&picture_bits(), &picture_records(), &picture_files(), &picture_folder()};
  return forms;
}

PictureFacts pictures_of(const Recipe& recipe) {
  Fields model(recipe.model, recipe.where, "model");
  PictureFacts facts = read_picture_facts(model);
  if (const PictureRecipe& pictures = *recipe.task->data.pictures; pictures.resize != PictureResize::kNone) {
    facts.resize = pictures.resize;
    facts.resample = pictures.resample;
  }
  return facts;
}

std::vector<LabelledInput> read_pictures(const std::string& file, const Recipe& recipe, const PictureFacts& size) {
  return recipe.task->data.pictures->form->read(file, recipe, size);
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
