// Decodes cells and records to pixels, and resamples pixels of a distorted picture.
#include "tasks/data/picture_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/format.h"
#include "base/random.h"
#include "base/table.h"
#include "clearhead/data.h"
#include "clearhead/error.h"
#include "models/input_picture.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/table_header.h"

namespace clearhead {
namespace {

Tensor picture_of_bits(std::string_view figures, const PictureFacts& size, const std::string& where) {
  const int64_t pixels = size.height * size.width;
  if (size.channels != 1) fail(ErrorCode::kShape, "{}: bits are grey; the model reads {} channels", where, size.channels);
  if (static_cast<int64_t>(figures.size()) * 4 != pixels)
    fail(ErrorCode::kShape, "{}: {} hex figures; expected {}, for {} x {} pixels", where, figures.size(), pixels / 4, size.height,
         size.width);
  Tensor out = Tensor::empty({1, size.height, size.width});
  float* to = out.mutable_data<float>();
  for (size_t at = 0; at < figures.size(); ++at) {
    const size_t value = std::string_view("0123456789abcdef").find(static_cast<char>(figures[at] | 0x20));
    if (value == std::string_view::npos || figures[at] < '0')
      fail(ErrorCode::kFormat, "{}: figure {} of the picture is \"{}\"; expected 0 to 9 and a to f", where, at + 1, figures.substr(at, 1));
    for (int bit = 3; bit >= 0; --bit) *to++ = static_cast<float>(value >> bit & 1);
  }
  return out;
}

Tensor picture_of_file(const std::string& path, const PictureFacts& size, const std::string& where) {
  try {
    return read_image(path, {size.channels, size.height, size.width});
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
}

std::vector<LabelledInput> read_table(const std::string& file, const Recipe& recipe, const PictureFacts& size) {
  const TaskRecipe& task = *recipe.task;
  const std::string &picture_column = task.data.pictures->column, &label_column = task.data.label;
  const bool is_named = !is_column_number(picture_column) || !is_column_number(label_column);
  size_t picture = 0, label = 0;
  const SourceText opened = open_text(recipe.source, file);
  const std::string folder = std::filesystem::path(opened.path()).parent_path().string();
  std::vector<LabelledInput> out;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::vector<std::string_view>& cells = row.cells;
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (row.line == 1) {
      picture = column_of(picture_column, "pictures.column", recipe.where, cells, opened.path());
      label = column_of(label_column, "label", recipe.where, cells, opened.path());
      if (is_named) return;
    }
    if (const size_t most = std::max(picture, label); cells.size() < most)
      fail(ErrorCode::kFormat, "{}: expected {} columns with {} between, found {}", where, most, separators_of(file), cells.size());
    const std::string_view cell = cells[picture - 1];
    out.push_back({.label = std::string(cells[label - 1]), .where = where});
    out.back().input.picture = task.data.pictures->form == "bits" ? picture_of_bits(cell, size, where)
                                                                  : picture_of_file(folder + "/" + std::string(cell), size, where);
  });
  return out;
}

// Reads the label of each number from lines like "0<TAB>RBC".
std::vector<std::string> read_names(const Recipe& recipe) {
  const SourceText opened = open_text(recipe.source, recipe.task->data.pictures->names);
  std::vector<std::string> out;
  for_each_line(opened.text, [&](std::string_view line, int64_t number) {
    const std::vector<std::string_view> cells = cells_of(line);
    if (cells.size() != 2 || cells[0] != std::to_string(out.size()) || cells[1].empty())
      fail(ErrorCode::kFormat, "{}, line {}: expected {}, a tab and the name of that label, found \"{}\"", opened.path(), number,
           out.size(), line);
    out.emplace_back(cells[1]);
  });
  return out;
}

std::vector<LabelledInput> read_records(const std::string& file, const Recipe& recipe, const PictureFacts& size) {
  const std::vector<std::string> names = read_names(recipe);
  const std::shared_ptr<MappedFile> opened = open_source(recipe.source, file);
  const std::string_view bytes = opened->bytes();
  const auto values = static_cast<size_t>(size.channels * size.height * size.width), record = values + 1;
  if (bytes.size() % record != 0) {
    fail(ErrorCode::kFormat, "{}: {} bytes, not a number of records of {} (1 for the label, {} for {} x {} pixels of {} channels)",
         opened->path(), bytes.size(), record, values, size.height, size.width, size.channels);
  }
  std::vector<LabelledInput> out;
  for (size_t begin = 0; begin < bytes.size(); begin += record) {
    LabelledInput one{.where = format("{}, record {}", opened->path(), begin / record + 1)};
    const auto* from = reinterpret_cast<const uint8_t*>(bytes.data()) + begin;
    if (*from >= names.size()) {
      fail(ErrorCode::kFormat, "{}: label {}; \"{}\" names {}", one.where, static_cast<int>(*from), recipe.task->data.pictures->names,
           names.size());
    }
    one.label = names[*from];
    one.input.picture = Tensor::empty({size.channels, size.height, size.width});
    std::transform(from + 1, from + record, one.input.picture.mutable_data<float>(),
                   [](uint8_t value) { return static_cast<float>(value) / 255; });
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

PictureFacts pictures_of(const Recipe& recipe) {
  Fields model(recipe.model, recipe.where, "model");
  return read_picture_facts(model);
}

std::vector<LabelledInput> read_pictures(const std::string& file, const Recipe& recipe, const PictureFacts& size) {
  return recipe.task->data.pictures->form == "cifar10" ? read_records(file, recipe, size) : read_table(file, recipe, size);
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

}  // namespace clearhead
