// Pictures of a map: tiles of 256² cells at any level, and the overview of the whole.
//
// A cell of level z covers 2^z × 2^z weights. The map room pools any rectangle to any grid by ⌊rn/R⌋, which is 2^z exactly where n = R·2^z: a
// rectangle is cut into that part and the ragged cells at the map's end. Every cell is the max and the mean over its visible pairs.
#include <algorithm>
#include <cmath>
#include <limits>

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

struct Part {
  Range items{};
  int64_t cell = 0, cells = 0;
};

// The whole cells of a range, then its ragged end.
std::vector<Part> parts_of(Range items, int64_t side) {
  const int64_t whole = items.size() / side;
  std::vector<Part> parts;
  if (whole > 0) parts.push_back({{items.begin, items.begin + whole * side}, 0, whole});
  if (items.begin + whole * side < items.end) parts.push_back({{items.begin + whole * side, items.end}, whole, 1});
  return parts;
}

std::vector<float> part_of(const std::vector<float>& values, Range whole, Range part) {
  if (values.empty()) return {};
  const auto at = [&](int64_t i) { return values.begin() + static_cast<std::ptrdiff_t>(i - whole.begin); };
  return {at(part.begin), at(part.end)};
}

void place(const Tensor& from, std::vector<float>& to, int64_t columns, const Part& rows, const Part& keys) {
  const float* values = from.data<float>();
  for (int64_t r = 0; r < rows.cells; ++r) {
    std::copy_n(values + r * keys.cells, keys.cells, to.begin() + static_cast<std::ptrdiff_t>((rows.cell + r) * columns + keys.cell));
  }
}

// Progress of several looks one after another.
LookOptions share_of(const LookOptions& options, double begin, double end) {
  LookOptions own = options;
  if (options.progress) own.progress = [&options, begin, end](double done) { options.progress(begin + done * (end - begin)); };
  return own;
}

Json codes_json(const Codes& codes) {
  const char* kind = codes.kind == Scale::kLog ? "log" : codes.kind == Scale::kSqrt ? "sqrt" : "linear";
  return Json::object({{"kind", kind}, {"lo", codes.low}, {"hi", codes.high}, {"error", codes.error}});
}

void add_plane(ViewFrame& frame, Json& codes, const char* name, const std::vector<float>& cells, const Cells& of, bool f32) {
  if (f32) return frame.add(name, cells, {of.rows, of.columns});
  const Codes quantised = quantise(cells, Scale::kLog);
  codes[name] = codes_json(quantised);
  frame.add(name, quantised.values, {of.rows, of.columns});
}

int64_t cells_of(int64_t items, int z) { return (items + (int64_t{1} << z) - 1) >> z; }

}  // namespace

Cells LiveSource::cells(const HeadLook& at, int z, Range queries, Range keys, int64_t sampled_rows, const LookOptions& options) {
  const FamilyFacts& known = facts(at.family);
  const LayerMap map = trace_->map(known.shape.name, at.layer);
  Cells out{.z = z, .queries = queries, .keys = keys, .rows = cells_of(queries.size(), z), .columns = cells_of(keys.size(), z)};
  const size_t count = static_cast<size_t>(out.rows * out.columns);
  out.max.assign(count, std::numeric_limits<float>::quiet_NaN());
  out.mean = out.max;
  std::vector<float> key_factors = norms(at), row_factors;
  if (!key_factors.empty()) key_factors = part_of(key_factors, {0, known.keys}, keys);
  if (at.sink != SinkRule::kMark && !known.sinks.empty()) {
    const std::vector<float> without = sink_key_factors(keys, known.sinks, at.sink);
    if (key_factors.empty()) {
      key_factors = without;
    } else {
      for (size_t j = 0; j < without.size(); ++j) key_factors[j] *= without[j];
    }
    if (at.sink == SinkRule::kRenormalise) {
      for (const float mass : part_of(sink_masses(at), {0, known.queries}, queries)) {
        row_factors.push_back(static_cast<float>(1.0 / std::max(1e-12, 1.0 - static_cast<double>(mass))));
      }
    }
  }
  const int64_t side = int64_t{1} << z;
  const double all = std::max(1.0, static_cast<double>(queries.size()) * static_cast<double>(keys.size()));
  double done = 0;
  for (const Part& rows : parts_of(queries, side)) {
    for (const Part& columns : parts_of(keys, side)) {
      TileRequest request{.queries = rows.items,
                          .keys = columns.items,
                          .cells = {rows.cells, columns.cells},
                          .key_factors = part_of(key_factors, keys, columns.items),
                          .row_factors = part_of(row_factors, queries, rows.items)};
      const double share = static_cast<double>(rows.items.size()) * static_cast<double>(columns.items.size()) / all;
      if (z == 0) request.cells = {0, 0};
      for (const Pool pool : {Pool::kMax, Pool::kMean}) {
        request.pool = pool;
        LookOptions own = share_of(options, done, done + share / 2);
        own.sampled_rows =
            z == 0 ? 0 : std::max<int64_t>(sampled_rows * rows.items.size() / std::max<int64_t>(1, queries.size()), sampled_rows > 0);
        const Tile tile = map.tile(at.head, request, own);
        done += share / 2;
        out.exact = out.exact && tile.exact;
        place(tile.cells, pool == Pool::kMax ? out.max : out.mean, out.columns, rows, columns);
        if (z > 0) continue;
        place(tile.cells, out.mean, out.columns, rows, columns);  // one weight: its mean is itself
        break;
      }
    }
  }
  out.sampled_rows = out.exact ? 0 : sampled_rows;
  return out;
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
  const double a_row = static_cast<double>(keys.size()) * (static_cast<double>(known.shape.d_k) + kPairWork) * (look.z > 0 ? 2 : 1);
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
      2 * static_cast<double>(known.queries) * static_cast<double>(known.keys) * (static_cast<double>(known.shape.d_k) + kPairWork);
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
  picture(at.weight == WeightKind::kRaw && at.sink == SinkRule::kMark ? swept_cells(at, z, options)
                                                                      : cells(at, z, queries, keys, 0, options));
}

// Max and mean of a whole map in one pass over it; what a window never scored, or a map in frames, takes the way of tiles.
Cells LiveSource::swept_cells(const HeadLook& at, int z, const LookOptions& options) {
  const FamilyFacts& known = facts(at.family);
  const LayerMap map = trace_->map(known.shape.name, at.layer);
  if (!map.whole() || z == 0) return cells(at, z, {0, known.queries}, {0, known.keys}, 0, options);
  Cells out{.z = z, .queries = {0, known.queries}, .keys = {0, known.keys}};
  SweepRequest request;
  request.cell_side = int64_t{1} << z;
  request.cells = {out.rows = cells_of(known.queries, z), out.columns = cells_of(known.keys, z)};
  request.heads = {at.head, at.head + 1};
  const SweepResult swept = map.sweep(request, options);
  const auto plane = [&](const Tensor& tensor) {
    const float* values = tensor.data<float>();
    return std::vector<float>(values, values + out.rows * out.columns);
  };
  out.max = plane(swept.pooled_max);
  out.mean = plane(swept.pooled_mean);
  return out;
}

}  // namespace clearhead
