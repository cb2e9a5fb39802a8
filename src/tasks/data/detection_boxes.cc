// A table of boxes in pixels, and the pictures that it names.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "models/input_picture.h"
#include "tasks/data/detection_data.h"
#include "tasks/data/table_header.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

constexpr std::array<std::string BoxColumns::*, 6> kColumns = {&BoxColumns::file, &BoxColumns::label, &BoxColumns::x,
                                                               &BoxColumns::y,    &BoxColumns::width, &BoxColumns::height};
constexpr std::array<const char*, 6> kNames = {"file", "label", "x", "y", "width", "height"};

struct BoxRow {
  std::array<std::string, 6> cells{};  // as kNames
  std::string where{};
  bool is_empty() const {
    return std::all_of(cells.begin() + 1, cells.end(), [](const std::string& cell) { return cell.empty(); });
  }
};

std::vector<BoxRow> rows_of(const SourceText& opened, const Recipe& recipe, const BoxColumns& columns) {
  std::array<size_t, 6> places{};
  const bool is_named = std::any_of(kColumns.begin(), kColumns.end(), [&](auto member) { return !is_column_number(columns.*member); });
  std::vector<BoxRow> out;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    if (row.line == 1) {
      for (size_t at = 0; at < places.size(); ++at)
        places[at] = column_of(columns.*kColumns[at], format("task.boxes.{}", kNames[at]), recipe.where, row.cells, opened.path());
      if (is_named) return;
    }
    BoxRow one{.where = format("{}, line {}", opened.path(), row.line)};
    const size_t most = *std::max_element(places.begin(), places.end());
    if (row.cells.size() < most)
      fail(ErrorCode::kFormat, "{}: expected {} columns separated by {}, found {}", one.where, most, separators_of(opened.path()),
           row.cells.size());
    for (size_t at = 0; at < places.size(); ++at) one.cells[at] = row.cells[places[at] - 1];
    if (one.cells[0].empty()) fail(ErrorCode::kFormat, "{}, column \"{}\": expected the path of a picture", one.where, columns.file);
    if (!one.is_empty() && one.cells[1].empty())
      fail(ErrorCode::kFormat, "{}, column \"{}\": the label is empty; only a row without a box may have no label", one.where,
           columns.label);
    out.push_back(std::move(one));
  });
  return out;
}

double number_in(const BoxRow& row, size_t at, const BoxColumns& columns) {
  const std::string& cell = row.cells[at];
  char* end = nullptr;
  const double value = std::strtod(cell.c_str(), &end);
  if (cell.empty() || *end != '\0' || !std::isfinite(value))
    fail(ErrorCode::kFormat, "{}, column \"{}\": expected a number of pixels, found \"{}\"", row.where, columns.*kColumns[at], cell);
  return value;
}

// Returns a box in pixels.
metrics::Box box_in(const BoxRow& row, const BoxColumns& columns, double wide, double high) {
  std::array<double, 4> numbers{};
  for (size_t at = 0; at < numbers.size(); ++at) numbers[at] = number_in(row, at + 2, columns);
  const auto [x, y, width, height] = numbers;
  for (size_t axis = 0; axis < 2; ++axis) {
    const double from = numbers[axis], length = numbers[axis + 2], all = axis == 0 ? wide : high;
    if (!(length > 0))
      fail(ErrorCode::kFormat, "{}, column \"{}\": expected a side above 0, found {}", row.where, columns.*kColumns[axis + 4], length);
    if (from < 0 || from + length > all)
      fail(ErrorCode::kFormat, "{}, column \"{}\": the box reaches from {} to {}, outside the picture, which has {} pixels", row.where,
           columns.*kColumns[axis + 2], from, from + length, all);
  }
  return {x + width / 2, y + height / 2, width, height};
}

// Reads a picture, and converts the boxes of its rows to fractions of the picture that the model reads.
PictureWithBoxes picture_of(const std::string& folder, const std::vector<BoxRow>& rows, const Recipe& recipe, const BoxColumns& columns,
                            const PictureFacts& size) {
  const BoxRow& first = rows.front();
  PictureWithBoxes out{.where = first.where};
  std::array<int64_t, 2> size_in_file{};  // height and width
  try {
    const std::string path = folder + "/" + first.cells[0];
    size_in_file = picture_size(path);
    out.picture = read_picture(size, path);
  } catch (const Error& error) {
    fail(error.code(), "{}, column \"{}\": {}", first.where, columns.file, error.what());
  }
  const auto [height, width] = size_in_file;
  const PictureScale scale = picture_scale(size, height, width);
  for (const BoxRow& row : rows) {
    if (row.is_empty()) continue;
    const metrics::Box box = box_in(row, columns, static_cast<double>(width), static_cast<double>(height));
    const auto wide = static_cast<double>(size.width), high = static_cast<double>(size.height);
    out.objects.push_back({.label = recipe.task->id_of(row.cells[1], format("{}, column \"{}\"", row.where, columns.label)),
                           .box = {(box.x * scale.x + scale.left) / wide, (box.y * scale.y + scale.top) / high, box.width * scale.x / wide,
                                   box.height * scale.y / high}});
  }
  return out;
}

}  // namespace

const Schema<BoxColumns>& box_columns_schema() {
  using namespace schema;
  using C = BoxColumns;
  static const Schema<C> schema = {
      column("file", &C::file, false, "the column with the path of a PNG or JPEG file, relative to the table's folder"),
      column("label", &C::label, false, "the column with the class of the object; empty, like the box, for a picture without objects"),
      column("x", &C::x, false, "the column with the left edge of the box, in pixels"),
      column("y", &C::y, false, "the column with the upper edge of the box, in pixels"),
      column("width", &C::width, false, "the column with the width of the box, in pixels"),
      column("height", &C::height, false, "the column with the height of the box, in pixels"),
  };
  return schema;
}

std::vector<std::string> labels_of_boxes(const Recipe& recipe, const BoxColumns& columns) {
  std::set<std::string> out;
  for (const BoxRow& row : rows_of(open_text(recipe.source, recipe.task->train), recipe, columns)) {
    if (!row.is_empty()) out.insert(row.cells[1]);
  }
  if (out.empty())
    fail(ErrorCode::kInvalidArgument, "{}/{}: has no boxes; training needs at least one", recipe.source.folder, recipe.task->train);
  return {out.begin(), out.end()};
}

std::vector<PictureWithBoxes> read_boxes(const std::string& file, const Recipe& recipe, const BoxColumns& columns) {
  const SourceText opened = open_text(recipe.source, file);
  const std::string folder = std::filesystem::path(opened.path()).parent_path().string();
  std::vector<std::string> order;
  std::map<std::string, std::vector<BoxRow>> of_picture;
  for (BoxRow& row : rows_of(opened, recipe, columns)) {
    if (of_picture.find(row.cells[0]) == of_picture.end()) order.push_back(row.cells[0]);
    of_picture[row.cells[0]].push_back(std::move(row));
  }
  Fields model(recipe.model, recipe.where, "model");
  const PictureFacts size = read_picture_facts(model);
  std::vector<PictureWithBoxes> out;
  for (const std::string& name : order) out.push_back(picture_of(folder, of_picture[name], recipe, columns, size));
  return out;
}

}  // namespace clearhead::tasks
