// Sums raw weights with LayerMap::mass(). For other weight kinds and for renormalised rows, computes the weights of a block of rows at a
// time and adds them up.
#include "viewer/questions/mass.h"

#include <algorithm>
#include <limits>

#include "viewer/questions/ranges.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kBlockWeights = int64_t{1} << 22;  // computed at once: 16 MB

// Key ranges without the sinks.
std::vector<Range> without(const std::vector<Range>& ranges, const std::vector<int64_t>& sinks) {
  std::vector<Range> out;
  for (Range range : ranges) {
    for (const int64_t sink : sinks) {
      if (sink < range.begin || sink >= range.end) continue;
      if (sink > range.begin) out.push_back({range.begin, sink});
      range.begin = sink + 1;
    }
    if (range.size() > 0) out.push_back(range);
  }
  return out;
}

// Σ over a block of weights [rows, keys], multiplied by the norms of their keys and divided by the divisors of their rows. Hidden and
// never-scored pairs count as 0.
double block_mass(const Tile& tile, Range keys, const std::vector<float>& norm, const std::vector<double>& divisors) {
  const float* weight = tile.max.data<float>();
  double sum = 0;
  for (const double divisor : divisors) {
    double row = 0;
    for (int64_t key = keys.begin; key < keys.end; ++key, ++weight) {
      if (!(*weight > 0)) continue;
      row += static_cast<double>(*weight) * (norm.empty() ? 1.0 : static_cast<double>(norm[static_cast<size_t>(key)]));
    }
    sum += row / divisor;
  }
  return sum;
}

// 1 − the mass at the sinks, for every row.
std::vector<double> what_sinks_leave(const LayerMap& map, int64_t head, Range rows, const FamilyFacts& known, const LookOptions& options) {
  const Tile tile = map.tile(head, {.queries = rows, .keys = {0, known.keys}}, {.cancel = options.cancel});
  std::vector<double> out;
  for (int64_t r = 0; r < rows.size(); ++r) out.push_back(left_by_sinks(tile.max.data<float>() + r * known.keys, known));
  return out;
}

struct Rectangle {
  Range rows{}, keys{};
};

// Adds the sum over a rectangle of a head, weight by weight, under a weight kind and a sink rule, a block of rows at a time.
void add_head_mass(LoadedTrace& loaded, const LayerMap& map, const HeadLook& at, const Rectangle& of, const LookOptions& options,
                   double& sum) {
  const FamilyFacts& known = loaded.facts(at.family);
  const bool divides = at.sink == SinkRule::kRenormalise && !known.sinks.empty();
  const int64_t block = std::max<int64_t>(1, kBlockWeights / (divides ? known.keys : of.keys.size()));
  const std::vector<float> norm = norms(loaded, at);
  for (int64_t begin = of.rows.begin; begin < of.rows.end; begin += block) {
    const Range some{begin, std::min(of.rows.end, begin + block)};
    std::vector<double> divisors(static_cast<size_t>(some.size()), 1.0);
    if (divides) divisors = what_sinks_leave(map, at.head, some, known, options);
    const Tile tile = map.tile(at.head, {.queries = some, .keys = of.keys}, {.cancel = options.cancel});
    sum += block_mass(tile, of.keys, norm, divisors);
  }
}

// Adds the sum over a rectangle to the sums of a layer. [head]
void add_layer_mass(LoadedTrace& loaded, const MassLook& look, int layer, const Rectangle& of, const LookOptions& options,
                    std::vector<double>& sums) {
  const FamilyFacts& known = loaded.facts(look.family);
  const LayerMap map = map_of(loaded, {known.shape.name, layer, 0, look.weight, look.sink});
  const bool divides = look.sink == SinkRule::kRenormalise && !known.sinks.empty();
  if (look.weight == WeightKind::kRaw && !divides) {
    const std::vector<float> part = map.mass(of.rows, of.keys, {.cancel = options.cancel});
    for (size_t h = 0; h < sums.size(); ++h) sums[h] += static_cast<double>(part[h]) * static_cast<double>(of.rows.size());
    return;
  }
  for (int64_t head = 0; head < known.shape.heads; ++head) {
    const HeadLook at{known.shape.name, layer, head, look.weight, look.sink};
    add_head_mass(loaded, map, at, of, options, sums[static_cast<size_t>(head)]);
  }
}

}  // namespace

ViewFrame mass(LoadedTrace& loaded, const MassLook& look, const LookOptions& options) {
  const FamilyFacts& known = loaded.facts(look.family);
  check_ranges(look.rows, known.queries, "rows");
  check_ranges(look.keys, known.keys, "keys");
  const std::vector<Range> rows = united(look.rows), all_keys = united(look.keys);
  check_rows(loaded, look.family, rows);
  const std::vector<Range> keys = look.sink == SinkRule::kMark ? all_keys : without(all_keys, known.sinks);
  const int64_t heads = known.shape.heads;
  std::vector<float> mass(static_cast<size_t>(known.shape.layers * heads), std::numeric_limits<float>::quiet_NaN());
  const double row_count = static_cast<double>(count_of(rows));
  for (const int layer : known.layers) {
    std::vector<double> sums(static_cast<size_t>(heads), 0.0);
    for (const Range& own_rows : rows) {
      for (const Range& own_keys : keys) add_layer_mass(loaded, look, layer, {own_rows, own_keys}, options, sums);
    }
    for (int64_t h = 0; h < heads; ++h)
      mass[static_cast<size_t>(layer * heads + h)] = static_cast<float>(sums[static_cast<size_t>(h)] / row_count);
    if (options.progress) options.progress(0);  // yields to other jobs between layers
  }
  ViewFrame frame;
  frame.header = Json::object({{"family", known.shape.name},
                               {"rows", count_of(rows)},
                               {"keys", count_of(all_keys)},
                               {"weight", to_string(look.weight)},
                               {"sink", to_string(look.sink)},
                               {"badge", "exact"}});
  frame.add("mass", mass, {known.shape.layers, heads});
  return frame;
}

}  // namespace clearhead::viewer::questions
