// Pictures of a map: tiles of 256² cells at any level, and the overview of the whole.
//
// A cell of level z covers 2^z × 2^z weights, fewer at the map's end, and is the max and the mean over its visible pairs.
#include <algorithm>

#include "base/format.h"
#include "viewer/source.h"

namespace clearhead {
namespace {

constexpr int64_t kTileSide = 256;
constexpr int64_t kOverviewSide = 512;
constexpr int64_t kSampledRows = 1024;
// Multiply-adds that a tile may cost before it comes from sampled rows: about 80 ms on two cores.
constexpr double kTileWork = 6e9;
// An overview that costs less than this needs no sampled picture first.
constexpr double kInstantWork = 3e9;
constexpr double kPairWork = 24;  // what exp, pooling and memory cost a pair, in multiply-adds

void add_plane(ViewFrame& frame, Json& codes, const char* name, const std::vector<float>& cells, const Cells& of, bool f32) {
  if (f32) return frame.add(name, cells, {of.rows, of.columns});
  const Codes quantised = quantise(cells, Scale::kLog);
  codes[name] = codes_json(quantised);
  frame.add(name, quantised.values, {of.rows, of.columns});
}

int64_t cells_of(int64_t items, int z) { return (items + (int64_t{1} << z) - 1) >> z; }

}  // namespace

Json codes_json(const Codes& codes) {
  const char* kind = codes.kind == Scale::kLog ? "log" : codes.kind == Scale::kSqrt ? "sqrt" : "linear";
  return Json::object({{"kind", kind}, {"lo", codes.low}, {"hi", codes.high}, {"error", codes.error}});
}

Cells LiveSource::cells(const HeadLook& at, int z, Range queries, Range keys, int64_t sampled_rows, const LookOptions& options) {
  const FamilyFacts& known = facts(at.family);
  const LayerMap map = trace_->map(known.shape.name, at.layer);
  TileRequest request{.queries = queries, .keys = keys, .cell_side = int64_t{1} << z};
  if (const std::vector<float> factors = norms(at); !factors.empty()) {
    request.key_factors.assign(factors.begin() + keys.begin, factors.begin() + keys.end);
  }
  if (at.sink != SinkRule::kMark && !known.sinks.empty()) {
    const std::vector<float> without = sink_key_factors(keys, known.sinks, at.sink);
    if (request.key_factors.empty()) request.key_factors.assign(without.size(), 1);
    for (size_t j = 0; j < without.size(); ++j) request.key_factors[j] *= without[j];
    if (at.sink == SinkRule::kRenormalise) {
      const std::vector<float> masses = sink_masses(at);
      for (int64_t i = queries.begin; i < queries.end; ++i) {
        const double left = 1.0 - static_cast<double>(masses[static_cast<size_t>(i)]);
        request.row_factors.push_back(static_cast<float>(1.0 / std::max(1e-12, left)));
      }
    }
  }
  LookOptions own = options;
  own.sampled_rows = z == 0 ? 0 : sampled_rows;
  const Tile tile = map.tile(at.head, request, own);
  const auto values = [](const Tensor& cells) { return std::vector<float>(cells.data<float>(), cells.data<float>() + cells.numel()); };
  return {.z = z,
          .queries = queries,
          .keys = keys,
          .rows = tile.max.size(0),
          .columns = tile.max.size(1),
          .max = values(tile.max),
          .mean = values(tile.mean),
          .exact = tile.exact,
          .sampled_rows = tile.exact ? 0 : sampled_rows};
}

int LiveSource::overview_level(const FamilyFacts& known, int64_t side) const {
  int z = 0;
  while (cells_of(std::max(known.queries, known.keys), z) > side) ++z;
  return z;
}

ViewFrame LiveSource::picture_frame(const HeadLook& at, const Cells& cells, bool max, bool mean, bool f32) const {
  const auto pair = [](Range range) { return Json(Json::Array{range.begin, range.end}); };
  ViewFrame frame;
  frame.header = Json::object({{"family", at.family.empty() ? main_family() : at.family},
                               {"layer", at.layer},
                               {"head", at.head},
                               {"z", cells.z},
                               {"rows", cells.rows},
                               {"columns", cells.columns},
                               {"queries", pair(cells.queries)},
                               {"keys", pair(cells.keys)},
                               {"weight", to_string(at.weight)},
                               {"sink", to_string(at.sink)},
                               {"badge", cells.exact ? "exact" : "sampled"},
                               {"sampled_rows", cells.exact ? Json() : Json(cells.sampled_rows)}});
  Json codes = Json::object();
  if (max) add_plane(frame, codes, "max", cells.max, cells, f32);
  if (mean) add_plane(frame, codes, "mean", cells.mean, cells, f32);
  frame.header["codes"] = std::move(codes);
  return frame;
}

ViewFrame LiveSource::tile(const TileLook& look, const LookOptions& options) {
  check_head(look.at);
  check_all_rows(look.at, "A tile");
  const FamilyFacts& known = facts(look.at.family);
  if (look.z < 0 || look.z > 40) fail(ErrorCode::kInvalidArgument, "z: {}; expected 0 to 40.", look.z);
  const int64_t side = kTileSide << look.z;
  if (look.x < 0 || look.y < 0 || look.x > known.keys / side || look.y > known.queries / side || look.x * side >= known.keys ||
      look.y * side >= known.queries) {
    fail(ErrorCode::kNotFound, "tile z={} x={} y={}: the map has {} × {} such tiles.", look.z, look.x, look.y,
         (known.keys + side - 1) / side, (known.queries + side - 1) / side);
  }
  const Range queries{look.y * side, std::min(known.queries, (look.y + 1) * side)};
  const Range keys{look.x * side, std::min(known.keys, (look.x + 1) * side)};
  int64_t sample = 0;
  const double a_row = static_cast<double>(keys.size()) * (static_cast<double>(known.shape.d_k) + kPairWork);
  if (!look.exact && a_row * static_cast<double>(queries.size()) > kTileWork)
    sample = std::max<int64_t>(1, static_cast<int64_t>(kTileWork / a_row));
  const Cells found = cells(look.at, look.z, queries, keys, sample, options);
  return picture_frame(look.at, found, look.max, look.mean, look.f32);
}

void LiveSource::overview(const HeadLook& at, const TakeFrame& take, const LookOptions& options) {
  check_head(at);
  check_all_rows(at, "An overview");
  const FamilyFacts& known = facts(at.family);
  if (known.queries == 0 || known.keys == 0) fail(ErrorCode::kNotFound, "overview: the map is empty.");
  const int z = overview_level(known, kOverviewSide);
  const Range queries{0, known.queries}, keys{0, known.keys};
  const double work =
      static_cast<double>(known.queries) * static_cast<double>(known.keys) * (static_cast<double>(known.shape.d_k) + kPairWork);
  const auto picture = [&](const Cells& found) {
    ViewFrame frame = picture_frame(at, found, true, true, false);
    frame.header["event"] = "picture";
    take(std::move(frame));
  };
  if (work > kInstantWork && known.queries > kSampledRows && known.windows.empty()) {
    LookOptions own = options;
    own.progress = nullptr;
    picture(cells(at, z, queries, keys, kSampledRows, own));
  }
  picture(cells(at, z, queries, keys, 0, options));
}

}  // namespace clearhead
