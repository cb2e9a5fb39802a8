// Recomputes rows in blocks and pools them at once, so that only one block of a map is in memory. A block covers only the keys of its band.
#include "viewer/questions/head_pictures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "observe/picture.h"
#include "viewer/head_statistics.h"
#include "viewer/questions/ranges.h"
#include "viewer/questions/tiles.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kBlock = 96;
constexpr int64_t kSampledRows = 1024;
constexpr double kInstantWork = 2e11;  // multiply-adds of all maps, about two seconds: above this, pictures from sampled rows come first

// The factors that the weights of these rows are multiplied with.
TileRequest factors_of(LoadedTrace& loaded, const HeadLook& at, Range rows) {
  TileRequest out;
  add_factors(loaded, {.at = at, .queries = rows, .keys = {0, loaded.facts(at.family).keys}}, out);
  return out;
}

class Pooled {
 public:
  Pooled(const FamilyFacts& known, int layer) : out_{.layer = layer, .queries = known.query_range(), .keys = known.key_range()} {
    const auto band = short_band(known, layer);
    if (band) out_.offsets = {-band->first, band->second + 1};
    out_.rows = std::min(kThumbnail, out_.queries.size());
    out_.columns = std::min(kThumbnail, band ? out_.offsets.size() : out_.keys.size());
    out_.cells.assign(static_cast<size_t>(out_.rows * out_.columns), std::numeric_limits<float>::quiet_NaN());
    const auto layers_band = known.queries == known.keys ? known.band_of(layer) : std::nullopt;
    back_ = layers_band ? layers_band->first : known.keys;
    ahead_ = layers_band ? layers_band->second : known.keys;
  }

  int64_t rows() const { return out_.rows; }
  // The queries that a row of cells covers.
  Range queries_of(int64_t row) const {
    const int64_t length = out_.queries.size();
    const auto first = [&](int64_t r) { return out_.queries.begin + (r * length + out_.rows - 1) / out_.rows; };
    return {first(row), first(row + 1)};
  }
  // The keys of the family that at least one of these queries can see.
  Range keys_of(Range rows) const { return {std::max(out_.keys.begin, rows.begin - back_), std::min(out_.keys.end, rows.end + ahead_)}; }
  void take(int64_t row, Range rows, Range keys, const Tile& weights) {
    const float* value = weights.max.data<float>();
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      float* cells = out_.cells.data() + row * out_.columns;
      for (int64_t j = keys.begin; j < keys.end; ++j, ++value) {
        if (*value > 0) sum_ += static_cast<double>(*value);
        const int64_t column = column_of(i, j);
        if (column < 0) continue;
        float& cell = cells[column];
        if (!std::isnan(*value) && !(cell >= *value)) cell = *value;
      }
    }
    looked_at_ += rows.size();
  }
  HeadPicture result(int64_t head, bool is_sampled) && {
    out_.head = head;
    out_.sum = looked_at_ > 0 ? sum_ * static_cast<double>(out_.queries.size()) / static_cast<double>(looked_at_) : 0;
    out_.sampled_rows = is_sampled ? looked_at_ : 0;
    return std::move(out_);
  }

 private:
  int64_t column_of(int64_t query, int64_t key) const {
    if (out_.offsets.size() == 0) return (key - out_.keys.begin) * out_.columns / out_.keys.size();
    const int64_t offset = key - query;
    return offset < out_.offsets.begin || offset >= out_.offsets.end ? -1
                                                                     : (offset - out_.offsets.begin) * out_.columns / out_.offsets.size();
  }

  HeadPicture out_;
  int64_t back_ = 0, ahead_ = 0, looked_at_ = 0;
  double sum_ = 0;
};

// `of_each`: number of rows used for each row of cells; 0: all.
HeadPicture picture_of(LoadedTrace& loaded, const LayerMap& map, const HeadLook& at, int64_t of_each, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(at.family);
  Pooled pooled(known, at.layer);
  const TileRequest factors = factors_of(loaded, at, known.query_range());
  bool is_sampled = false;
  for (int64_t cell = 0; cell < pooled.rows(); ++cell) {
    Range of_cell = pooled.queries_of(cell);
    if (of_each > 0 && of_cell.size() > of_each) {
      of_cell.end = of_cell.begin + of_each;
      is_sampled = true;
    }
    for (int64_t begin = of_cell.begin; begin < of_cell.end; begin += kBlock) {
      const Range rows{begin, std::min(of_cell.end, begin + kBlock)}, keys = pooled.keys_of(rows);
      if (keys.size() <= 0) continue;
      TileRequest part{.queries = rows, .keys = keys};
      if (!factors.key_factors.empty())
        part.key_factors.assign(factors.key_factors.begin() + keys.begin, factors.key_factors.begin() + keys.end);
      if (!factors.row_factors.empty()) {
        const auto from = factors.row_factors.begin() + (rows.begin - known.query_range().begin);
        part.row_factors.assign(from, from + rows.size());
      }
      pooled.take(cell, rows, keys, map.tile(at.head, part, {.cancel = options.cancel}));
    }
  }
  return std::move(pooled).result(at.head, is_sampled);
}

// Multiply-adds of one head's map; gradients need a second product.
double work_of(const FamilyFacts& known, WeightKind weight) {
  return static_cast<double>(known.queries) * static_cast<double>(known.keys) * static_cast<double>(known.shape.d_k) *
         (is_gradient(weight) ? 2 : 1);
}

}  // namespace

void head_pictures(LoadedTrace& loaded, const HeadLook& at, const std::function<void(HeadPicture)>& take, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(at.family);
  if (known.layers.empty()) throw NotKept("No layer of this family was kept.", keep_command(loaded.trace(), ""));
  check_all_rows(loaded, at.family, "An atlas");
  const double heads = static_cast<double>(known.layers.size()) * static_cast<double>(known.shape.heads);
  const auto all_heads = [&](int64_t of_each, bool tells) {
    double done = 0;
    for (const int layer : known.layers) {
      HeadLook one = at;
      one.family = known.shape.name;
      one.layer = layer;
      const LayerMap map = map_of(loaded, one);
      for (one.head = 0; one.head < known.shape.heads; ++one.head) {
        if (options.progress) options.progress(tells ? done / heads : 0);  // yields to other jobs
        take(picture_of(loaded, map, one, of_each, options));
        done += 1;
      }
    }
  };
  if (options.sampled_rows > 0) return all_heads(std::max<int64_t>(1, options.sampled_rows / kThumbnail), true);
  const bool is_long = heads * work_of(known, at.weight) > kInstantWork && known.query_range().size() > kSampledRows;
  if (is_long && known.windows.empty()) all_heads(kSampledRows / kThumbnail, false);
  all_heads(0, true);
}

void atlas_under(LoadedTrace& loaded, const HeadLook& at, const TakeFrame& take, const LookOptions& options) {
  const auto emit = [&](const HeadPicture& head) {
    const Codes codes = quantise(head.cells, Scale::kSqrt);
    Json item = Json::object({{"layer", head.layer}, {"head", head.head}, {"sum", head.sum}, {"codes", codes_json(codes)}});
    if (head.offsets.size() > 0) item["offsets"] = range_json(head.offsets);
    ViewFrame frame;
    frame.header = Json::object({{"event", "heads"},
                                 {"family", loaded.facts(at.family).shape.name},
                                 {"layer", head.layer},
                                 {"weight", to_string(at.weight)},
                                 {"sink", to_string(at.sink)},
                                 {"badge", head.sampled_rows > 0 ? "sampled" : "exact"},
                                 {"sampled_rows", head.sampled_rows > 0 ? Json(head.sampled_rows) : Json()},
                                 {"size", std::max(head.rows, head.columns)},
                                 {"queries", range_json(head.queries)},
                                 {"keys", range_json(head.keys)},
                                 {"heads", Json(Json::Array{item})}});
    frame.add("thumbnails", codes.values, {1, head.rows, head.columns});
    take(std::move(frame));
  };
  head_pictures(loaded, at, emit, options);
}

}  // namespace clearhead::viewer::questions
