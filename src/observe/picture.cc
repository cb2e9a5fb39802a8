// Levels, codes and pixels: a linear, √ or log scale onto the codes 3 … 255, cividis by linear interpolation, and hatching for
// pairs that were never scored.
#include "observe/picture.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/format.h"

namespace clearhead {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kDecades = 6;      // range of the log scale
constexpr float kNeverScored = -1;  // the value of a cell whose pairs were never scored

// Every fifth of the 256 colours that Nuñez, Anderton & Renslow published with "Optimizing colormaps with consideration for color
// vision deficiency" (PLoS ONE 13(7), 2018, supporting data), as 0xRRGGBB. Colours between them are interpolated linearly, which
// stays within 4/255 of the published ramp.
constexpr std::array<uint32_t, 52> kCividis = {
    0x00224e, 0x002656, 0x002a5f, 0x002d68, 0x003070, 0x083370, 0x163770, 0x203a6f, 0x273e6e, 0x2e416d, 0x34456c, 0x3a486c, 0x3f4c6c,
    0x444f6c, 0x49536c, 0x4e566c, 0x535a6d, 0x575d6d, 0x5c616e, 0x60646f, 0x656870, 0x696b71, 0x6d6f72, 0x727274, 0x767676, 0x7a7a78,
    0x7e7d78, 0x838179, 0x888578, 0x8d8878, 0x928c78, 0x969077, 0x9b9476, 0xa09875, 0xa59c74, 0xaaa073, 0xafa471, 0xb5a86f, 0xbaac6d,
    0xbfb06b, 0xc4b468, 0xc9b965, 0xcfbd62, 0xd4c15f, 0xdac65b, 0xdfca57, 0xe5cf52, 0xead34c, 0xf0d846, 0xf6dd3f, 0xfce236, 0xfee838};

struct Levels {
  float low = std::numeric_limits<float>::infinity(), high = 0;  // smallest and largest positive value
};

Levels levels_of(std::span<const float> cells) {
  Levels levels;
  for (const float value : cells) {
    if (!(value > 0)) continue;
    levels.low = std::min(levels.low, value);
    levels.high = std::max(levels.high, value);
  }
  return levels;
}

uint8_t code_of(const Codes& codes, float value) {
  if (std::isnan(value)) return 0;
  if (value == kNeverScored) return 1;
  if (value <= 0 || value < codes.low) return 2;
  double at = 0;  // 0 … 1
  const double share = std::min(1.0, static_cast<double>(value) / static_cast<double>(codes.high));
  if (codes.kind == Scale::kLog) {
    const double span = std::log(static_cast<double>(codes.high) / static_cast<double>(codes.low));
    at = span > 0 ? 1 + std::log(share) / span : 1;
    return static_cast<uint8_t>(3 + std::lround(252 * std::clamp(at, 0.0, 1.0)));
  }
  at = codes.kind == Scale::kSqrt ? std::sqrt(share) : share;
  return static_cast<uint8_t>(2 + std::lround(253 * at));
}

// code_of() for many cells, without logarithms. Codes ascend with the value, so a table of the smallest value of every code gives
// the same results. A second table, indexed by the exponent and first eight fraction bits of a float, gives the code to start
// from; a further step is seldom needed.
class CodeTable {
 public:
  explicit CodeTable(const Codes& codes) {
    for (uint32_t code = 3; code <= 255; ++code) {
      uint32_t below = 0, from = std::bit_cast<uint32_t>(codes.high);  // values ≥ `from` have at least this code, if any has
      while (below + 1 < from) {
        const uint32_t middle = below + (from - below) / 2;
        (code_of(codes, value_of(middle)) >= code ? from : below) = middle;
      }
      least_[code] = value_of(from);
    }
    uint8_t code = 2;
    for (uint32_t at = 0; at < kEntries; ++at) {
      while (code < 255 && value_of(at << kShift) >= least_[code + 1u]) ++code;
      first_[at] = code;
    }
  }
  uint8_t operator()(float value) const {
    if (std::isnan(value)) return 0;
    if (value == kNeverScored) return 1;
    if (value <= 0) return 2;
    uint32_t code = first_[std::bit_cast<uint32_t>(value) >> kShift];
    while (code < 255 && value >= least_[code + 1]) ++code;
    return static_cast<uint8_t>(code);
  }

 private:
  static constexpr uint32_t kShift = 15, kEntries = 0x7F800000u >> kShift;  // up to infinity
  static float value_of(uint32_t bits) { return std::bit_cast<float>(bits); }
  std::vector<uint8_t> first_ = std::vector<uint8_t>(kEntries);
  std::array<float, 256> least_{};
};
constexpr size_t kTableCells = 32'768;  // for fewer cells, logarithms cost less than the table

// Paints one cell of `side` pixels at pixel (x, y).
void fill(Picture& picture, int64_t x, int64_t y, int64_t side, Rgb colour) {
  for (int64_t row = y; row < y + side; ++row) {
    uint8_t* pixel = picture.rgb.data() + (row * picture.width + x) * 3;
    for (int64_t column = 0; column < side; ++column, pixel += 3) {
      pixel[0] = colour.red;
      pixel[1] = colour.green;
      pixel[2] = colour.blue;
    }
  }
}

// Diagonal stripes that continue across neighbouring cells.
void hatch(Picture& picture, int64_t x, int64_t y, int64_t side, Rgb colour) {
  const Rgb darker{static_cast<uint8_t>(colour.red * 3 / 4), static_cast<uint8_t>(colour.green * 3 / 4),
                   static_cast<uint8_t>(colour.blue * 3 / 4)};
  for (int64_t row = y; row < y + side; ++row) {
    for (int64_t column = x; column < x + side; ++column) fill(picture, column, row, 1, (row + column) % 6 < 2 ? darker : colour);
  }
}

}  // namespace

Rgb cividis(uint8_t level) {
  const size_t at = level / 5;
  const int part = level % 5;
  const uint32_t from = kCividis[at], to = kCividis[std::min(at + 1, kCividis.size() - 1)];
  const auto channel = [&](int shift) {
    const int a = static_cast<int>(from >> shift & 255), b = static_cast<int>(to >> shift & 255);
    return static_cast<uint8_t>((a * (5 - part) + b * part + 2) / 5);
  };
  return {channel(16), channel(8), channel(0)};
}

float level_of(float value, float high, Scale scale) {
  if (!(high > 0) || !(value > 0)) return 0;
  const double share = std::min(1.0, static_cast<double>(value) / static_cast<double>(high));
  switch (scale) {
    case Scale::kLinear: return static_cast<float>(share);
    case Scale::kSqrt: return static_cast<float>(std::sqrt(share));
    case Scale::kLog: return static_cast<float>(std::max(0.0, 1 + std::log10(share) / kDecades));
  }
  return 0;
}

Codes quantise(std::span<const float> cells, Scale kind) {
  Codes codes{.kind = kind};
  const Levels levels = levels_of(cells);
  codes.high = levels.high;
  if (kind == Scale::kLog && levels.high > 0) codes.low = std::max(levels.low, levels.high * 1e-6f);
  codes.values.resize(cells.size());
  std::array<float, 256> values{};
  for (size_t code = 0; code < values.size(); ++code) values[code] = decode(codes, static_cast<uint8_t>(code));
  const auto add_all = [&](const auto& coded) {
    float error = 0;
    for (size_t at = 0; at < cells.size(); ++at) {
      const uint8_t code = coded(cells[at]);
      codes.values[at] = code;
      if (code >= 2) error = std::max(error, std::abs(values[code] - cells[at]));
    }
    codes.error = error;
  };
  if (cells.size() >= kTableCells && codes.high > 0 && std::isfinite(codes.high)) {
    add_all(CodeTable(codes));
  } else {
    add_all([&](float value) { return code_of(codes, value); });
  }
  return codes;
}

float decode(const Codes& codes, uint8_t code) {
  if (code == 0) return kNaN;
  if (code == 1) return kNeverScored;
  if (code == 2) return 0;
  const double high = codes.high, share = (code - 2) / 253.0;
  switch (codes.kind) {
    case Scale::kLinear: return static_cast<float>(high * share);
    case Scale::kSqrt: return static_cast<float>(high * share * share);
    case Scale::kLog: return static_cast<float>(codes.low * std::pow(high / static_cast<double>(codes.low), (code - 3) / 252.0));
  }
  return 0;
}

Picture paint(const Tensor& cells, const PictureOptions& options) {
  if (!cells.defined() || cells.rank() != 2 || cells.dtype() != DType::kF32) {
    fail(ErrorCode::kInvalidArgument, "picture: cells are {} {}; expected f32 [rows, columns]",
         cells.defined() ? to_string(cells.dtype()) : "undefined", to_string(cells.shape()));
  }
  const int64_t side = options.cell_pixels, rows = cells.size(0), columns = cells.size(1);
  if (side < 1) fail(ErrorCode::kInvalidArgument, "picture: cells of {} pixels; expected at least 1", side);
  const Tensor flat = cells.contiguous();
  const float* values = flat.data<float>();
  const float high = options.high > 0 ? options.high : levels_of({values, static_cast<size_t>(rows * columns)}).high;
  const int64_t strip = options.marked_columns.empty() ? 0 : std::max<int64_t>(3, side);
  Picture picture{columns * side, rows * side + strip, {}};
  picture.rgb.assign(static_cast<size_t>(picture.width * picture.height * 3), 255);
  for (const int64_t column : options.marked_columns) {
    if (column < 0 || column >= columns) continue;
    for (int64_t y = 0; y + side <= strip; y += side) fill(picture, column * side, y, side, options.mark);
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const float value = *values++;
      const int64_t x = column * side, y = strip + row * side;
      if (value == kNeverScored) {
        hatch(picture, x, y, side, options.hidden);
      } else {
        const float level = level_of(value, high, options.scale);
        fill(picture, x, y, side, std::isnan(value) ? options.hidden : cividis(static_cast<uint8_t>(std::lround(255 * level))));
      }
    }
  }
  return picture;
}

}  // namespace clearhead
