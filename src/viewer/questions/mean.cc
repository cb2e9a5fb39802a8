// Adds up blocks of single weights of all heads, and pools each block when it is complete.
#include "viewer/questions/mean.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kRowsAtOnce = 48;
constexpr int64_t kBlockWeights = int64_t{1} << 22;  // computed at once for each head: 16 MB
constexpr float kHidden = std::numeric_limits<float>::quiet_NaN();
constexpr float kNeverScored = -1.0f;

// The weights of a block as they are shown, averaged over heads. [queries, keys]
std::vector<float> mean_block(LoadedTrace& loaded, const std::vector<HeadLook>& heads, const std::vector<LayerMap>& maps, Range queries,
                              Range keys, const LookOptions& options) {
  HeadMean mean;
  for (size_t h = 0; h < heads.size(); ++h) {
    TileRequest request{.queries = queries, .keys = keys};
    add_factors(loaded, {.at = heads[h], .queries = queries, .keys = keys}, request);
    const Tile tile = maps[h].tile(heads[h].head, request, {.cancel = options.cancel});
    mean.add({tile.max.data<float>(), static_cast<size_t>(tile.max.numel())});
  }
  return mean.result();
}

// Cells of row_side queries × column_side columns. A column is a key, or key − query.
struct Pooling {
  Range queries{}, columns{};
  int64_t row_side = 1, column_side = 1;
  bool by_offset = false;

  int64_t rows() const { return (queries.size() + row_side - 1) / row_side; }
  int64_t across() const { return (columns.size() + column_side - 1) / column_side; }
  // The keys that are columns of some query of a block.
  Range keys_of(Range block, int64_t keys) const {
    if (!by_offset) return columns;
    return {std::max<int64_t>(0, block.begin + columns.begin), std::min(keys, block.end - 1 + columns.end)};
  }
};

struct Pooled {
  std::vector<float> max, mean;  // [rows, columns]
  int64_t rows_looked_at = 0;
};

class Pools {
 public:
  explicit Pools(const Pooling& pooling)
      : pooling_(pooling),
        max_(static_cast<size_t>(pooling.rows() * pooling.across()), kHidden),
        sums_(max_.size(), 0.0),
        counts_(max_.size(), 0) {}

  void add(Range queries, Range keys, const std::vector<float>& weights) {
    const float* weight = weights.data();
    for (int64_t i = queries.begin; i < queries.end; ++i) {
      const int64_t row = (i - pooling_.queries.begin) / pooling_.row_side * pooling_.across();
      const int64_t first = pooling_.columns.begin + (pooling_.by_offset ? i : 0);
      for (int64_t j = keys.begin; j < keys.end; ++j, ++weight) {
        const int64_t column = j - first;
        if (column < 0 || column >= pooling_.columns.size() || std::isnan(*weight)) continue;
        const auto at = static_cast<size_t>(row + column / pooling_.column_side);
        if (!(*weight <= max_[at])) max_[at] = *weight;
        if (*weight < 0) continue;
        sums_[at] += static_cast<double>(*weight);
        ++counts_[at];
      }
    }
  }

  Pooled result(int64_t rows_looked_at) && {
    Pooled out{.max = max_, .mean = max_, .rows_looked_at = rows_looked_at};
    for (size_t at = 0; at < counts_.size(); ++at) {
      if (counts_[at] > 0) out.mean[at] = static_cast<float>(sums_[at] / static_cast<double>(counts_[at]));
    }
    return out;
  }

 private:
  const Pooling& pooling_;
  std::vector<float> max_;
  std::vector<double> sums_;
  std::vector<int64_t> counts_;
};

// Blocks of queries to read: all of them, or `wanted` single ones, at least one from each row of cells.
std::vector<Range> blocks_of(const Pooling& pooling, int64_t wanted) {
  std::vector<Range> out;
  const Range all = pooling.queries;
  if (wanted <= 0 || wanted >= all.size()) {
    for (int64_t begin = all.begin; begin < all.end; begin += kRowsAtOnce) out.push_back({begin, std::min(all.end, begin + kRowsAtOnce)});
    return out;
  }
  const int64_t from_each = std::max<int64_t>(1, wanted / pooling.rows());
  for (int64_t begin = all.begin; begin < all.end; begin += pooling.row_side) {
    const int64_t size = std::min(all.end, begin + pooling.row_side) - begin, count = std::min(size, from_each);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t query = begin + (2 * i + 1) * size / (2 * count);
      out.push_back({query, query + 1});
    }
  }
  return out;
}

Pooled pool(LoadedTrace& loaded, const std::vector<HeadLook>& heads, const Pooling& pooling, int64_t sampled_rows,
            const LookOptions& options) {
  std::vector<LayerMap> maps;
  for (const HeadLook& head : heads) maps.push_back(map_of(loaded, head));
  const int64_t all_keys = loaded.facts(heads.front().family).keys;
  const std::vector<Range> blocks = blocks_of(pooling, sampled_rows);
  Pools pools(pooling);
  int64_t done = 0, looked_at = 0;
  for (const Range& block : blocks) {
    const Range keys = pooling.keys_of(block, all_keys);
    const int64_t step = std::max<int64_t>(1, kBlockWeights / block.size());
    for (int64_t begin = keys.begin; begin < keys.end; begin += step) {
      if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "the computation was cancelled");
      const Range part{begin, std::min(keys.end, begin + step)};
      pools.add(block, part, mean_block(loaded, heads, maps, block, part, options));
    }
    looked_at += block.size();
    if (options.progress) options.progress(static_cast<double>(++done) / static_cast<double>(blocks.size()));
  }
  return std::move(pools).result(looked_at);
}

Cells cells_of(Pooled pooled, const Pooling& pooling, int z) {
  const bool is_exact = pooled.rows_looked_at == pooling.queries.size();
  return {.z = z,
          .queries = pooling.queries,
          .keys = pooling.columns,
          .rows = pooling.rows(),
          .columns = pooling.across(),
          .max = std::move(pooled.max),
          .mean = std::move(pooled.mean),
          .exact = is_exact,
          .sampled_rows = is_exact ? 0 : pooled.rows_looked_at};
}

}  // namespace

void HeadMean::add(std::span<const float> weights) {
  if (heads_++ == 0) sums_.assign(weights.size(), static_cast<double>(kHidden));
  for (size_t i = 0; i < weights.size(); ++i) {
    if (std::isnan(weights[i])) continue;
    const auto weight = static_cast<double>(weights[i]);
    if (std::isnan(sums_[i]) || sums_[i] == kNeverScored) {
      sums_[i] = weight;
    } else if (weights[i] != kNeverScored) {
      sums_[i] += weight;
    }
  }
}

std::vector<float> HeadMean::result() const {
  std::vector<float> out;
  for (const double sum : sums_) out.push_back(sum == kNeverScored ? kNeverScored : static_cast<float>(sum / static_cast<double>(heads_)));
  return out;
}

Cells mean_cells(LoadedTrace& loaded, const std::vector<HeadLook>& heads, const CellsLook& look, const LookOptions& options) {
  const int64_t side = int64_t{1} << look.z;
  const Pooling pooling{.queries = look.queries, .columns = look.keys, .row_side = side, .column_side = side};
  return cells_of(pool(loaded, heads, pooling, look.z == 0 ? 0 : look.sampled_rows, options), pooling, look.z);
}

Cells mean_near_cells(LoadedTrace& loaded, const std::vector<HeadLook>& heads, const OffsetLook& look, const LookOptions& options) {
  const Pooling pooling{.queries = look.queries,
                        .columns = look.offsets,
                        .row_side = int64_t{1} << look.z,
                        .column_side = int64_t{1} << look.column_z,
                        .by_offset = true};
  Cells out = cells_of(pool(loaded, heads, pooling, look.sampled_rows, options), pooling, look.z);
  out.column_z = look.column_z;
  return out;
}

}  // namespace clearhead::viewer::questions
