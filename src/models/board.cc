// Reads how observations are drawn, and draws them.
#include "models/board.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "base/format.h"
#include "observe/item_kinds.h"

namespace clearhead {
namespace {

constexpr int64_t kCell = 16, kGap = 12, kFrame = 2;  // in pixels; the frame is around a tile, and belongs to its box
constexpr int64_t kMostCells = 32;                    // rows or columns of a board
constexpr BoardFacts::Colour kUnknown = {200, 200, 200};

std::optional<BoardFacts::Colour> colour_of(const std::string& text) {
  uint32_t value = 0;
  const char* end = text.data() + text.size();
  if (text.size() != 7 || text[0] != '#' || std::from_chars(text.data() + 1, end, value, 16).ptr != end) return {};
  return BoardFacts::Colour{static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

// Fills all pixels of a rectangle but the last row and column, so that cells are separated by a line.
void fill_cell(Tensor& picture, int64_t left, int64_t top, BoardFacts::Colour colour) {
  uint8_t* pixels = picture.mutable_data<uint8_t>();
  for (int64_t y = top; y < top + kCell - 1; ++y)
    for (int64_t x = left; x < left + kCell - 1; ++x) std::copy(colour.begin(), colour.end(), pixels + (y * picture.size(1) + x) * 3);
}

}  // namespace

std::optional<BoardFacts> read_board(Fields& config) {
  const Json* given = config.take("board");
  if (!given) return {};
  Fields fields(*given, config.where(), "board");
  const auto cells = [&](const char* name) {
    const int64_t value = fields.integer_or(name, 1);
    if (value < 1 || value > kMostCells) fields.wrong(name, format("a whole number from 1 to {}", kMostCells), Json(value));
    return value;
  };
  BoardFacts out{.rows = cells("rows"), .columns = cells("columns")};
  const Json& colours = fields.require("colours");
  if (!colours.is_object()) fields.wrong("colours", "an object with a colour for each word", colours);
  for (const auto& [word, value] : colours.fields()) {
    const auto colour = value.is_string() ? colour_of(value.string()) : std::nullopt;
    if (!colour) fields.wrong("colours." + word, "a colour such as \"#0072b2\"", value);
    out.colours[word] = *colour;
  }
  fields.refuse_rest();
  return out;
}

Json json_of(const BoardFacts& facts) {
  Json colours = Json::object({});
  for (const auto& [word, colour] : facts.colours) colours[word] = format("#{:02x}{:02x}{:02x}", colour[0], colour[1], colour[2]);
  return Json::object({{"rows", facts.rows}, {"columns", facts.columns}, {"colours", std::move(colours)}});
}

std::optional<DrawnSteps> draw_steps(const BoardFacts& facts, const std::vector<std::string>& observations) {
  const auto count = static_cast<int64_t>(observations.size());
  const int64_t wide = facts.columns * kCell + kGap, tall = facts.rows * kCell + kGap;  // of a tile with the gap after it
  // The picture is about twice as wide as high.
  const auto across = static_cast<int64_t>(std::ceil(std::sqrt(2 * static_cast<double>(count * tall) / static_cast<double>(wide))));
  const int64_t per_row = std::clamp<int64_t>(across, 1, std::max<int64_t>(count, 1)), lines = (count + per_row - 1) / per_row;
  const int64_t width = per_row * wide + kGap, height = lines * tall + kGap;
  if (count == 0 || width > kMostPixels || height > kMostPixels) return {};
  DrawnSteps out{Tensor::zeros({height, width, 3}, DType::kU8), Tensor::empty({count, 4})};
  std::fill_n(out.picture.mutable_data<uint8_t>(), out.picture.numel(), uint8_t{255});
  float* boxes = out.boxes.mutable_data<float>();
  for (int64_t step = 0; step < count; ++step) {
    const int64_t left = kGap + step % per_row * wide, top = kGap + step / per_row * tall;
    for (const int64_t side : {left - kFrame, top - kFrame, wide - kGap + 2 * kFrame - 1, tall - kGap + 2 * kFrame - 1})
      *boxes++ = static_cast<float>(side);
    std::istringstream words(observations[static_cast<size_t>(step)]);
    std::string word;
    for (int64_t cell = 0; cell < facts.rows * facts.columns && words >> word; ++cell) {
      const auto known = facts.colours.find(word);
      fill_cell(out.picture, left + cell % facts.columns * kCell, top + cell / facts.columns * kCell,
                known == facts.colours.end() ? kUnknown : known->second);
    }
  }
  return out;
}

}  // namespace clearhead
