// Pictures in records: one byte for the label, then one byte per value, channel by channel, row by row, as in
// CIFAR-10's binary files (Krizhevsky 2009).
#include <algorithm>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "tasks/data/text_data.h"
#include "tasks/examples/pictures.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

// Reads the label of each number from lines like "0<TAB>RBC".
std::vector<std::string> read_names(const Recipe& recipe, const PictureRecipe& pictures) {
  const SourceText opened = open_text(recipe.source, pictures.names);
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

std::vector<LabelledInput> read_records(const std::string& file, const Recipe& recipe, const PictureRecipe& pictures,
                                        const PictureFacts& size) {
  const std::vector<std::string> names = read_names(recipe, pictures);
  const std::shared_ptr<MappedFile> opened = open_source(recipe.source, file);
  const std::string_view bytes = opened->bytes();
  const auto values = static_cast<size_t>(size.channels * size.height * size.width), record = values + 1;
  if (bytes.size() % record != 0) {
    fail(ErrorCode::kFormat,
         "{}: found {} bytes; expected a multiple of the record size {} (1 for the label, {} for {} x {} pixels of {} channels)",
         opened->path(), bytes.size(), record, values, size.height, size.width, size.channels);
  }
  std::vector<LabelledInput> out;
  for (size_t begin = 0; begin < bytes.size(); begin += record) {
    LabelledInput one{.where = format("{}, record {}", opened->path(), begin / record + 1)};
    const auto* from = reinterpret_cast<const uint8_t*>(bytes.data()) + begin;
    if (*from >= names.size()) {
      fail(ErrorCode::kFormat, "{}: label {} has no name; \"{}\" names only {} labels", one.where, static_cast<int>(*from), pictures.names,
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

const PictureForm& picture_records() {
  static const PictureForm form = {
      .name = "cifar10", .meaning = "records of one byte for the label and one byte per value", .has_names = true, .read = read_records};
  return form;
}

}  // namespace clearhead::tasks
