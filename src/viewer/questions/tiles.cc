// Pools cells from exact weights. If that would take long, a picture pooled from sampled rows comes first, with the badge "sampled".
#include "viewer/questions/tiles.h"

#include <algorithm>

#include "base/format.h"
#include "observe/offset_columns.h"
#include "viewer/questions/mean.h"
#include "viewer/questions/ranges.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kTileSide = 256;
constexpr int64_t kOverviewSide = 512;
constexpr int64_t kSampledRows = 1024;
// Multiply-adds that a tile may cost before it is made from sampled rows: about 80 ms on two cores.
constexpr double kTileWork = 6e9;
// Multiply-adds below which an overview needs no sampled picture first.
constexpr double kInstantWork = 3e9;
constexpr int64_t kNear = 256;      // default number of tokens in each direction if the layer has no band
constexpr int64_t kNearBlock = 64;  // block size of observe/offset_columns.cc: columns that its blocks add to a row
constexpr double kPairWork = 24;    // cost of exp, pooling and memory accesses per pair, in multiply-adds

void add_plane(ViewFrame& frame, Json& codes, const char* name, const std::vector<float>& cells, const Cells& of, bool f32) {
  if (f32) return frame.add(name, cells, {of.rows, of.columns});
  const Codes quantised = quantise(cells, Scale::kLog);
  codes[name] = codes_json(quantised);
  frame.add(name, quantised.values, {of.rows, of.columns});
}

int64_t cells_of(int64_t items, int z) { return (items + (int64_t{1} << z) - 1) >> z; }

void check_near(const FamilyFacts& known) {
  if (known.shape.first_query == known.shape.first_key && known.queries == known.keys) return;
  fail(ErrorCode::kInvalidArgument, "axes=offset: the queries and keys of \"{}\" are not the same tokens; expected axes=key.",
       known.shape.name);
}

// The cost of a row with this many keys, in multiply-adds, for each head that the look shows.
double row_work(LoadedTrace& loaded, const HeadLook& at, int64_t keys) {
  const double heads = static_cast<double>(heads_of(loaded, at).size());
  return heads * static_cast<double>(keys) * (static_cast<double>(loaded.facts(at.family).shape.d_k) + kPairWork);
}

// The number of rows to sample for a picture with this many offsets; 0: all rows.
int64_t near_sample(LoadedTrace& loaded, const HeadLook& at, int64_t queries, int64_t wide) {
  const double a_row = row_work(loaded, at, wide + kNearBlock);
  return a_row * static_cast<double>(queries) > kTileWork ? std::max<int64_t>(1, static_cast<int64_t>(kTileWork / a_row)) : 0;
}

ViewFrame near_tile(LoadedTrace& loaded, const TileLook& look, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(look.at.family);
  check_near(known);
  const int64_t across = look.near->back + look.near->ahead + 1;
  if (look.z < 0 || look.z > 40 || look.column_z < 0 || look.column_z > 40)
    fail(ErrorCode::kInvalidArgument, "z: {}, zx: {}; expected 0 to 40.", look.z, look.column_z);
  const int64_t tall = kTileSide << look.z, wide = kTileSide << look.column_z;
  if (look.x < 0 || look.y < 0 || look.x > across / wide || look.y > known.queries / tall || look.x * wide >= across ||
      look.y * tall >= known.queries) {
    fail(ErrorCode::kNotFound, "tile z={} zx={} x={} y={}: the map of key − query has {} × {} such tiles.", look.z, look.column_z, look.x,
         look.y, (known.queries + tall - 1) / tall, (across + wide - 1) / wide);
  }
  const int64_t left = -look.near->back;
  OffsetLook part{.at = look.at,
                  .z = look.z,
                  .column_z = look.column_z,
                  .queries = {look.y * tall, std::min(known.queries, (look.y + 1) * tall)},
                  .offsets = {left + look.x * wide, std::min(left + across, left + (look.x + 1) * wide)}};
  if (!look.exact) part.sampled_rows = near_sample(loaded, look.at, part.queries.size(), part.offsets.size());
  return picture_frame(loaded, look.at, near_cells(loaded, part, options), look.planes);
}

int near_level(int64_t items, int64_t side) {
  int z = 0;
  while (cells_of(items, z) > side) ++z;
  return z;
}

// The overview of key − query: like the overview of the whole map, sampled first if it takes long.
void offset_overview(LoadedTrace& loaded, const HeadLook& at, const OffsetColumns& near, const TakeFrame& take,
                     const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(at.family);
  OffsetLook whole = whole_by_offset(loaded, at, near);
  const auto picture = [&](const LookOptions& own) {
    ViewFrame frame = picture_frame(loaded, at, near_cells(loaded, whole, own));
    frame.header["event"] = "picture";
    take(std::move(frame));
  };
  if (near_sample(loaded, at, known.queries, whole.offsets.size()) > 0 && known.windows.empty()) {
    whole.sampled_rows = kSampledRows;
    LookOptions own = options;
    own.progress = nullptr;
    picture(own);
  }
  whole.sampled_rows = 0;
  picture(options);
}

}  // namespace

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

Json codes_json(const Codes& codes) {
  const char* kind = codes.kind == Scale::kLog ? "log" : codes.kind == Scale::kSqrt ? "sqrt" : "linear";
  return Json::object({{"kind", kind}, {"lo", codes.low}, {"hi", codes.high}, {"error", codes.error}});
}

OffsetLook whole_by_offset(LoadedTrace& loaded, const HeadLook& at, const OffsetColumns& near) {
  const FamilyFacts& known = loaded.facts(at.family);
  check_near(known);
  return {.at = at,
          .z = near_level(known.queries, kOverviewSide),
          .column_z = near_level(near.back + near.ahead + 1, kOverviewSide),
          .queries = {0, known.queries},
          .offsets = {-near.back, near.ahead + 1}};
}

Cells cells(LoadedTrace& loaded, const CellsLook& look, const LookOptions& options) {
  if (is_mean(look.at)) return mean_cells(loaded, heads_of(loaded, look.at), look, options);
  const LayerMap map = map_of(loaded, look.at);
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
                               {"layer", index_json(at.layer)},
                               {"head", index_json(at.head)},
                               {"z", cells.z},
                               {"rows", cells.rows},
                               {"columns", cells.columns},
                               {"queries", range_json(cells.queries)},
                               {"keys", range_json(cells.keys)},
                               {"weight", to_string(at.weight)},
                               {"sink", to_string(at.sink)},
                               {"badge", cells.exact ? "exact" : "sampled"},
                               {"sampled_rows", cells.exact ? Json() : Json(cells.sampled_rows)},
                               {"axes", cells.column_z ? "offset" : "key"}});
  if (cells.column_z) frame.header["column_z"] = *cells.column_z;
  Json codes = Json::object();
  if (planes.max) add_plane(frame, codes, "max", cells.max, cells, planes.f32);
  if (planes.mean) add_plane(frame, codes, "mean", cells.mean, cells, planes.f32);
  frame.header["codes"] = std::move(codes);
  return frame;
}

OffsetColumns offset_columns_of(LoadedTrace& loaded, const HeadLook& at) {
  const FamilyFacts& known = loaded.facts(at.family);
  check_near(known);
  OffsetColumns widest;
  for (const HeadLook& head : heads_of(loaded, at)) {
    const auto band = known.band_of(head.layer);
    if (!band) return {kNear, known.shape.causal ? 0 : kNear};
    widest = {std::max(widest.back, band->first), std::max(widest.ahead, band->second)};
  }
  return widest;
}

Cells near_cells(LoadedTrace& loaded, const OffsetLook& look, const LookOptions& options) {
  if (is_mean(look.at)) return mean_near_cells(loaded, heads_of(loaded, look.at), look, options);
  const FamilyFacts& known = loaded.facts(look.at.family);
  const LayerMap map = map_of(loaded, look.at);
  TileRequest factors;
  add_factors(loaded, {.at = look.at, .queries = look.queries, .keys = {0, known.keys}}, factors);
  const NearRequest request{.queries = look.queries,
                            .offsets = look.offsets,
                            .row_side = int64_t{1} << look.z,
                            .column_side = int64_t{1} << look.column_z,
                            .key_factors = std::move(factors.key_factors),
                            .row_factors = std::move(factors.row_factors)};
  LookOptions own = options;
  own.sampled_rows = look.sampled_rows;
  NearCells found = clearhead::near_cells(map, look.at.head, request, own);
  return {.z = look.z,
          .queries = look.queries,
          .keys = look.offsets,
          .rows = found.rows,
          .columns = found.columns,
          .max = std::move(found.max),
          .mean = std::move(found.mean),
          .exact = found.exact,
          .sampled_rows = found.exact ? 0 : found.rows_looked_at,
          .column_z = look.column_z};
}

ViewFrame tile(LoadedTrace& loaded, const TileLook& look, const LookOptions& options) {
  heads_of(loaded, look.at);
  check_all_rows(loaded, look.at.family, "A tile");
  if (look.near) return near_tile(loaded, look, options);
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
  const double a_row = row_work(loaded, look.at, keys.size());
  if (!look.exact && a_row * static_cast<double>(queries.size()) > kTileWork)
    sample = std::max<int64_t>(1, static_cast<int64_t>(kTileWork / a_row));
  const Cells found = cells(loaded, {.at = look.at, .z = look.z, .queries = queries, .keys = keys, .sampled_rows = sample}, options);
  return picture_frame(loaded, look.at, found, look.planes);
}

void overview(LoadedTrace& loaded, const HeadLook& at, const std::optional<OffsetColumns>& near, const TakeFrame& take,
              const LookOptions& options) {
  heads_of(loaded, at);
  check_all_rows(loaded, at.family, "An overview");
  const FamilyFacts& known = loaded.facts(at.family);
  if (known.queries == 0 || known.keys == 0) fail(ErrorCode::kNotFound, "overview: the map is empty.");
  if (near) return offset_overview(loaded, at, *near, take, options);
  CellsLook whole{.at = at, .z = overview_level(known, kOverviewSide), .queries = {0, known.queries}, .keys = {0, known.keys}};
  const double work = static_cast<double>(known.queries) * row_work(loaded, at, known.keys);
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

}  // namespace clearhead::viewer::questions
