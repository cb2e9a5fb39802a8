// Pictures in a table, one per line. A cell has the pixels as hexadecimal digits, or the path of a PNG or JPEG file.
#include "base/format.h"
#include "clearhead/error.h"
#include "models/input_picture.h"
#include "tasks/data/input_table.h"
#include "tasks/examples/pictures.h"

namespace clearhead::tasks {
namespace {

Tensor picture_of_bits(std::string_view figures, const std::string&, const PictureFacts& size, const std::string& where) {
  const int64_t pixels = size.height * size.width;
  if (size.channels != 1)
    fail(ErrorCode::kShape, "{}: pictures of the form \"bits\" have 1 channel, but the model reads {}", where, size.channels);
  if (static_cast<int64_t>(figures.size()) * 4 != pixels)
    fail(ErrorCode::kShape, "{}: {} hex digits; expected {}, for {} x {} pixels", where, figures.size(), pixels / 4, size.height,
         size.width);
  Tensor out = Tensor::empty({1, size.height, size.width});
  float* to = out.mutable_data<float>();
  for (size_t at = 0; at < figures.size(); ++at) {
    const size_t value = std::string_view("0123456789abcdef").find(static_cast<char>(figures[at] | 0x20));
    if (value == std::string_view::npos || figures[at] < '0')
      fail(ErrorCode::kFormat, "{}: hex digit {} of the picture is \"{}\"; expected 0 to 9 or a to f", where, at + 1,
           figures.substr(at, 1));
    for (int bit = 3; bit >= 0; --bit) *to++ = static_cast<float>(value >> bit & 1);
  }
  return out;
}

Tensor picture_of_file(std::string_view name, const std::string& folder, const PictureFacts& size, const std::string& where) {
  try {
    return read_picture(size, folder + "/" + std::string(name));
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", where, error.what());
  }
}

using Decode = Tensor(std::string_view cell, const std::string& folder, const PictureFacts& size, const std::string& where);

// Reads a table; `decode` makes a picture of a cell.
std::vector<LabelledInput> read_table(const std::string& file, const Recipe& recipe, const PictureRecipe& pictures,
                                      const PictureFacts& size, Decode* decode) {
  return read_input_table(file, recipe, pictures.column, "task.pictures.column",
                          [&](std::string_view cell, const std::string& folder, const std::string& where) {
                            return ModelInput{.picture = decode(cell, folder, size, where)};
                          });
}

}  // namespace

const PictureForm& picture_bits() {
  static const PictureForm form = {
      .name = "bits",
      .meaning = "a cell of a table has the pixels in hexadecimal, row by row, the most significant bit leftmost, 1 is ink",
      .has_columns = true,
      .read = [](const std::string& file, const Recipe& recipe, const PictureRecipe& pictures, const PictureFacts& size) {
        return read_table(file, recipe, pictures, size, picture_of_bits);
      }};
  return form;
}

const PictureForm& picture_files() {
  static const PictureForm form = {
      .name = "files",
      .meaning = "a cell of a table has the path of a PNG or JPEG file, relative to the table's folder",
      .has_columns = true,
      .read = [](const std::string& file, const Recipe& recipe, const PictureRecipe& pictures, const PictureFacts& size) {
        return read_table(file, recipe, pictures, size, picture_of_file);
      }};
  return form;
}

}  // namespace clearhead::tasks
