// Cells are pooled from exact weights; those that would take long are pooled from sampled rows first, and say so.
#include "viewer/questions/tiles.h"

#include <algorithm>

#include "base/format.h"
#include "viewer/questions/ranges.h"

namespace clearhead::questions {
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

// Norms of values, and the sink rule: what is multiplied to every weight before cells are pooled.
void add_factors(LoadedTrace& loaded, const CellsLook& look, TileRequest& request) {
  const HeadLook& at = look.at;
  if (const std::vector<float> factors = norms(loaded, at); !factors.empty()) {
    request.key_factors.assign(factors.begin() + look.keys.begin, factors.begin() + look.keys.end);
  }
  const FamilyFacts& known = loaded.facts(at.family);
  if (at.sink == SinkRule::kMark || known.sinks.empty()) return;
  const std::vector<float> without = sink_key_factors(look.keys, known.sinks, at.sink);
  if (request.key_factors.empty()) request.key_factors.assign(without.size(), 1);
  for (size_t j = 0; j < without.size(); ++j) request.key_factors[j] *= without[j];
  if (at.sink != SinkRule::kRenormalise) return;
  const std::vector<float>& masses = loaded.sink_masses(known.shape.name, at.layer, at.head);
  for (int64_t i = look.queries.begin; i < look.queries.end; ++i) {
    request.row_factors.push_back(static_cast<float>(1.0 / left_by_sinks(static_cast<double>(masses[static_cast<size_t>(i)]))));
  }
}

}  // namespace

Json codes_json(const Codes& codes) {
  const char* kind = codes.kind == Scale::kLog ? "log" : codes.kind == Scale::kSqrt ? "sqrt" : "linear";
  return Json::object({{"kind", kind}, {"lo", codes.low}, {"hi", codes.high}, {"error", codes.error}});
}

Cells cells(LoadedTrace& loaded, const CellsLook& look, const LookOptions& options) {
  const LayerMap map = loaded.trace().map(loaded.facts(look.at.family).shape.name, look.at.layer);
  TileRequest request{.queries = look.queries, .keys = look.keys, .cell_side = int64_t{1} << look.z};
  add_factors(loaded, look, request);
  LookOptions own = options;
  own.sampled_rows = look.z == 0 ? 0 : look.sampled_rows;
  const Tile tile = map.tile(look.at.head, request, own);
  const auto values = [](const Tensor& cells) { return std::vector<float>(cells.data<float>(), cells.data<float>() + cells.numel()); };
  return {.z = look.z,
          .queries = look.queries,
          .keys = look.keys,
          .rows = tile.max.size(0),
          .columns = tile.max.size(1),
          .max = values(tile.max),
          .mean = values(tile.mean),
          .exact = tile.exact,
          .sampled_rows = tile.exact ? 0 : look.sampled_rows};
}

int overview_level(const FamilyFacts& known, int64_t side) {
  int z = 0;
  while (cells_of(std::max(known.queries, known.keys), z) > side) ++z;
  return z;
}

ViewFrame picture_frame(LoadedTrace& loaded, const HeadLook& at, const Cells& cells, const Planes& planes) {
  ViewFrame frame;
  frame.header = Json::object({{"family", at.family.empty() ? loaded.trace().main_family() : at.family},
                               {"layer", at.layer},
                               {"head", at.head},
                               {"z", cells.z},
                               {"rows", cells.rows},
                               {"columns", cells.columns},
                               {"queries", range_json(cells.queries)},
                               {"keys", range_json(cells.keys)},
                               {"weight", to_string(at.weight)},
                               {"sink", to_string(at.sink)},
                               {"badge", cells.exact ? "exact" : "sampled"},
                               {"sampled_rows", cells.exact ? Json() : Json(cells.sampled_rows)}});
  Json codes = Json::object();
  if (planes.max) add_plane(frame, codes, "max", cells.max, cells, planes.f32);
  if (planes.mean) add_plane(frame, codes, "mean", cells.mean, cells, planes.f32);
  frame.header["codes"] = std::move(codes);
  return frame;
}

ViewFrame tile(LoadedTrace& loaded, const TileLook& look, const LookOptions& options) {
  check_head(loaded, look.at);
  check_all_rows(loaded, look.at.family, "A tile");
  const FamilyFacts& known = loaded.facts(look.at.family);
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
  const Cells found = cells(loaded, {.at = look.at, .z = look.z, .queries = queries, .keys = keys, .sampled_rows = sample}, options);
  return picture_frame(loaded, look.at, found, look.planes);
}

void overview(LoadedTrace& loaded, const HeadLook& at, const TakeFrame& take, const LookOptions& options) {
  check_head(loaded, at);
  check_all_rows(loaded, at.family, "An overview");
  const FamilyFacts& known = loaded.facts(at.family);
  if (known.queries == 0 || known.keys == 0) fail(ErrorCode::kNotFound, "overview: the map is empty.");
  CellsLook whole{.at = at, .z = overview_level(known, kOverviewSide), .queries = {0, known.queries}, .keys = {0, known.keys}};
  const double work =
      static_cast<double>(known.queries) * static_cast<double>(known.keys) * (static_cast<double>(known.shape.d_k) + kPairWork);
  const auto picture = [&](const Cells& found) {
    ViewFrame frame = picture_frame(loaded, at, found);
    frame.header["event"] = "picture";
    take(std::move(frame));
  };
  if (work > kInstantWork && known.queries > kSampledRows && known.windows.empty()) {
    LookOptions own = options;
    own.progress = nullptr;
    whole.sampled_rows = kSampledRows;
    picture(cells(loaded, whole, own));
  }
  whole.sampled_rows = 0;
  picture(cells(loaded, whole, options));
}

}  // namespace clearhead::questions
