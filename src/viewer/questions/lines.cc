// Sums in double over exact f32 weights. A single raw row is returned with the same bits as the map's.
#include "viewer/questions/lines.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "base/format.h"
#include "spec/base2.h"
#include "viewer/questions/ranges.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kBlockWeights = int64_t{1} << 22;  // computed at once: 16 MB
constexpr size_t kMostRanges = 256;

void check_cancel(const LookOptions& options) {
  if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "the computation was cancelled");
}

// The ranges of entries with one state; a single enclosing range if there are too many.
Json ranges_of(const std::vector<uint8_t>& state, uint8_t wanted) {
  std::vector<Range> ranges;
  const int64_t count = static_cast<int64_t>(state.size());
  for (int64_t i = 0; i < count; ++i) {
    if (state[static_cast<size_t>(i)] != wanted) continue;
    if (!ranges.empty() && ranges.back().end == i) {
      ++ranges.back().end;
    } else {
      ranges.push_back({i, i + 1});
    }
  }
  if (ranges.size() > kMostRanges) ranges = {{ranges.front().begin, ranges.back().end}};
  return ranges_json(ranges);
}

struct TopItem {
  Range range{};
  double weight = 0;
};

// The heaviest items first, ties in order of position; items of weight 0 are left out.
std::vector<TopItem> heaviest(std::vector<TopItem> items, int64_t count) {
  std::erase_if(items, [](const TopItem& item) { return !(item.weight > 0); });
  const auto kept = static_cast<std::ptrdiff_t>(std::min<int64_t>(count, static_cast<int64_t>(items.size())));
  std::partial_sort(items.begin(), items.begin() + kept, items.end(), [](const TopItem& a, const TopItem& b) {
    return a.weight > b.weight || (a.weight == b.weight && a.range.begin < b.range.begin);
  });
  items.resize(static_cast<size_t>(kept));
  return items;
}

std::vector<TopItem> items_of(const std::vector<float>& values, const std::vector<int32_t>& words, bool by_word) {
  std::vector<TopItem> items;
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i);
    const bool joins = by_word && i > 0 && i < words.size() && words[i] >= 0 && words[i] == words[i - 1];
    if (joins) {
      items.back().range.end = at + 1;
      items.back().weight += static_cast<double>(values[i]);
    } else {
      items.push_back({{at, at + 1}, static_cast<double>(values[i])});
    }
  }
  return items;
}

double stat(const Tensor& rows, int64_t head, int64_t row) {
  return static_cast<double>(rows.data<float>()[head * rows.stride(1) + row * rows.stride(2)]);
}

// −Σ P ln P. The share of a sink logit counts as one more outcome.
double entropy_of(const float* weights, int64_t count, const Frame& frame, int64_t row, int64_t head) {
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    if (weights[j] > 0) sum -= static_cast<double>(weights[j]) * std::log(static_cast<double>(weights[j]));
  }
  const Softmax* softmax = std::get_if<Softmax>(&frame.record.spec.normaliser);
  if (!softmax || !softmax->sinks) return sum;
  const double logit = static_cast<double>(softmax->sinks->data<float>()[head * softmax->sinks->stride(0)]);
  const double share = std::exp2(in_base_2(logit) - stat(frame.record.rows.m, head, row)) / stat(frame.record.rows.l, head, row);
  return share > 0 ? sum - share * std::log(share) : sum;
}

// Sets the entropy and the log-sum-exp of a line that is a single row.
void add_entropy(const float* weights, int64_t keys, const LayerMap& map, int64_t head, int64_t query, Line& line) {
  const Frame& frame = *frame_of(map, query);
  const int64_t row = query - frame.queries.begin;
  line.entropy = entropy_of(weights, keys, frame, row, head);
  if (!std::holds_alternative<Softmax>(frame.record.spec.normaliser)) return;
  line.log_sum_exp = stat(frame.record.rows.m, head, row) * std::numbers::ln2 + std::log(stat(frame.record.rows.l, head, row));
}

// Updates the state of an entry (Line::state) with a pair that is not hidden. The weight is −1 if the pair was never scored. Returns
// whether it was scored.
bool take_state(float weight, uint8_t& state) {
  if (weight < 0) {
    if (state != 1) state = 2;
    return false;
  }
  state = 1;
  return true;
}

// Adds the weights of one row to the sums of a line.
void add_row(const float* weights, const FamilyFacts& known, SinkRule rule, const std::vector<float>& norm, Line& line,
             std::vector<double>& sums) {
  const double at_sinks = mass_at_sinks(weights, known);
  const double divisor = rule == SinkRule::kRenormalise && at_sinks > 0 ? left_by_sinks(weights, known) : 1.0;
  for (size_t at = 0; at < sums.size(); ++at) {
    if (std::isnan(weights[at]) || !take_state(weights[at], line.state[at])) continue;
    const double weight = static_cast<double>(weights[at]) / divisor;
    sums[at] += norm.empty() ? weight : weight * static_cast<double>(norm[at]);
  }
  line.sink_mass += at_sinks;
  ++line.count;
}

// Adds blocks of weights [rows, keys] to the sums of a column. `masses`: the mass at the sinks for every query, if rows are renormalised.
struct ColumnSums {
  const FamilyFacts& known;
  SinkRule rule;
  const std::vector<float>& norm;    // [key] or empty
  const std::vector<float>& masses;  // [query] or empty
  Line& line;
  std::vector<double> sums;  // [query]

  void add(const Tile& tile, Range rows, Range keys) {
    const float* weight = tile.max.data<float>();
    double sink_mass = line.sink_mass;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const size_t at = static_cast<size_t>(i);
      const double divisor = masses.empty() ? 1.0 : left_by_sinks(static_cast<double>(masses[at]));
      double sum = sums[at];
      uint8_t state = line.state[at];
      for (int64_t key = keys.begin; key < keys.end; ++key, ++weight) {
        if (std::isnan(*weight) || !take_state(*weight, state)) continue;
        const bool is_sink = std::binary_search(known.sinks.begin(), known.sinks.end(), key);
        if (is_sink) sink_mass += static_cast<double>(*weight);
        if (is_sink && rule != SinkRule::kMark) continue;
        sum += static_cast<double>(*weight) * (norm.empty() ? 1.0 : static_cast<double>(norm[static_cast<size_t>(key)])) / divisor;
      }
      sums[at] = sum;
      line.state[at] = state;
    }
    line.sink_mass = sink_mass;
  }
};

// Converts sums into the values of the line, as sums or as means over the rows or columns.
void finish(const std::vector<double>& sums, bool mean, Line& line) {
  const double divisor = mean && line.count > 0 ? static_cast<double>(line.count) : 1.0;
  line.sink_mass /= divisor;
  for (const double sum : sums) {
    line.values.push_back(static_cast<float>(sum / divisor));
    line.total += sum / divisor;
  }
}

// Maximum and sum of the values in each bin.
void add_profile(const std::vector<float>& values, int64_t bins, ViewFrame& frame) {
  const int64_t count = static_cast<int64_t>(values.size());
  std::vector<float> most(static_cast<size_t>(bins), 0.0f), sum(static_cast<size_t>(bins), 0.0f);
  for (int64_t b = 0; b < bins; ++b) {
    double total = 0;
    for (int64_t i = b * count / bins; i < (b + 1) * count / bins; ++i) {
      total += static_cast<double>(values[static_cast<size_t>(i)]);
      most[static_cast<size_t>(b)] = std::max(most[static_cast<size_t>(b)], values[static_cast<size_t>(i)]);
    }
    sum[static_cast<size_t>(b)] = static_cast<float>(total);
  }
  frame.add("profile_max", most);
  frame.add("profile_sum", sum);
}

ViewFrame line_frame(LoadedTrace& loaded, const LineLook& look, const Line& line, bool is_row) {
  const int64_t count = static_cast<int64_t>(line.values.size());
  Json top = Json::array();
  for (const TopItem& item : heaviest(items_of(line.values, loaded.words(), look.words), look.top)) {
    top.push(Json::object({{"begin", item.range.begin}, {"end", item.range.end}, {"weight", item.weight}}));
  }
  const Range values = look.values.end == LineLook::kAll ? Range{0, count} : look.values;
  if (values.begin < 0 || values.end > count || values.begin > values.end) {
    fail(ErrorCode::kInvalidArgument, "values: {}-{} is out of range; expected a range inside 0-{}.", values.begin, values.end, count);
  }
  int64_t visible = 0;
  for (const uint8_t state : line.state) visible += state == 1;
  ViewFrame frame;
  frame.header = Json::object({{"family", loaded.facts(look.at.family).shape.name},
                               {"layer", index_json(look.at.layer)},
                               {"head", index_json(look.at.head)},
                               {is_row ? "queries" : "keys", ranges_json(look.ranges)},
                               {is_row ? "rows" : "columns", line.count},
                               {"reduce", look.mean ? "mean" : "sum"},
                               {"weight", to_string(look.at.weight)},
                               {"sink", to_string(look.at.sink)},
                               {"badge", "exact"},
                               {"total", line.total},
                               {"sink_mass", line.sink_mass}});
  if (is_row) {
    frame.header["entropy"] = line.entropy ? Json(*line.entropy) : Json();
    frame.header["log_sum_exp"] = line.log_sum_exp ? Json(*line.log_sum_exp) : Json();
  } else {
    frame.header["mean"] = visible > 0 ? line.total / static_cast<double>(visible) : 0.0;
  }
  frame.header["visible"] = ranges_of(line.state, 1);
  frame.header["unscored"] = ranges_of(line.state, 2);
  frame.header["top"] = std::move(top);
  frame.header["values_from"] = values.begin;
  const std::span<const float> all(line.values);
  if (values.size() > 0) frame.add("values", all.subspan(static_cast<size_t>(values.begin), static_cast<size_t>(values.size())));
  if (look.profile > 0) add_profile(line.values, look.profile, frame);
  return frame;
}

Line row_of_head(LoadedTrace& loaded, const LineLook& look, const LookOptions& options) {
  check_head(loaded, look.at);
  check_rows(loaded, look.at.family, look.ranges);
  const FamilyFacts& known = loaded.facts(look.at.family);
  const LayerMap map = map_of(loaded, look.at);
  const std::vector<float> norm = norms(loaded, look.at);
  const int64_t keys = known.keys, block = std::max<int64_t>(1, std::min<int64_t>(48, kBlockWeights / std::max<int64_t>(1, keys)));
  Line line;
  line.state.assign(static_cast<size_t>(keys), 0);
  std::vector<double> sums(static_cast<size_t>(keys), 0.0);
  const bool is_lone = count_of(look.ranges) <= 1 && !map.look();  // gradients have no entropy
  for (const Range& range : look.ranges) {
    for (int64_t begin = range.begin; begin < range.end; begin += block) {
      check_cancel(options);
      const Range rows{begin, std::min(range.end, begin + block)};
      const Tile tile = map.tile(look.at.head, {.queries = rows, .keys = {0, keys}}, {.cancel = options.cancel});
      for (int64_t r = 0; r < rows.size(); ++r) {
        const float* weights = tile.max.data<float>() + r * keys;
        add_row(weights, known, look.at.sink, norm, line, sums);
        if (is_lone) add_entropy(weights, keys, map, look.at.head, begin, line);
      }
    }
  }
  if (look.at.sink != SinkRule::kMark) {
    for (const int64_t key : known.sinks) sums[static_cast<size_t>(key)] = 0;
  }
  finish(sums, look.mean, line);
  return line;
}

Line column_of_head(LoadedTrace& loaded, const LineLook& look, const LookOptions& options) {
  check_head(loaded, look.at);
  check_all_rows(loaded, look.at.family, "A column");
  const FamilyFacts& known = loaded.facts(look.at.family);
  for (const Range& range : look.ranges) {
    if (range.begin < 0 || range.end > known.keys || range.size() <= 0) {
      fail(ErrorCode::kInvalidArgument, "k: {}-{} is not a range of the {} keys.", range.begin, range.end, known.keys);
    }
  }
  const LayerMap map = map_of(loaded, look.at);
  const std::vector<float> norm = norms(loaded, look.at), none;
  const bool divides = look.at.sink == SinkRule::kRenormalise && !known.sinks.empty();
  const std::vector<float>& masses = divides ? loaded.sink_masses(known.shape.name, look.at.layer, look.at.head) : none;
  Line line;
  line.state.assign(static_cast<size_t>(known.queries), 0);
  ColumnSums column{known, look.at.sink, norm, masses, line, std::vector<double>(static_cast<size_t>(known.queries), 0.0)};
  for (const Range& range : look.ranges) {
    line.count += range.size();
    const int64_t block = std::max<int64_t>(48, kBlockWeights / range.size() / 48 * 48);
    for (int64_t begin = 0; begin < known.queries; begin += block) {
      check_cancel(options);
      const Range rows{begin, std::min(known.queries, begin + block)};
      column.add(map.tile(look.at.head, {.queries = rows, .keys = range}, {.cancel = options.cancel}), rows, range);
    }
  }
  finish(column.sums, look.mean, line);
  return line;
}

// The mean of the lines of several heads. It has no entropy: that of a mean says little about the heads.
Line mean_of_heads(LoadedTrace& loaded, const LineLook& look, const LookOptions& options, decltype(row_of_head)& line_of_head) {
  const std::vector<HeadLook> heads = heads_of(loaded, look.at);
  Line out;
  std::vector<double> sums;
  double at_sinks = 0;
  for (const HeadLook& head : heads) {
    LineLook own = look;
    own.at = head;
    const Line line = line_of_head(loaded, own, options);
    sums.resize(line.values.size(), 0.0);
    out.state.resize(line.state.size(), 0);
    for (size_t i = 0; i < sums.size(); ++i) {
      sums[i] += static_cast<double>(line.values[i]);
      if (line.state[i] == 1 || out.state[i] == 0) out.state[i] = line.state[i];
    }
    at_sinks += line.sink_mass;
    out.count = line.count;
  }
  const auto count = static_cast<double>(heads.size());
  for (const double sum : sums) {
    out.values.push_back(static_cast<float>(sum / count));
    out.total += sum / count;
  }
  out.sink_mass = at_sinks / count;
  return out;
}

}  // namespace

Line row_line(LoadedTrace& loaded, const LineLook& look, const LookOptions& options) {
  return is_mean(look.at) ? mean_of_heads(loaded, look, options, row_of_head) : row_of_head(loaded, look, options);
}

Line column_line(LoadedTrace& loaded, const LineLook& look, const LookOptions& options) {
  return is_mean(look.at) ? mean_of_heads(loaded, look, options, column_of_head) : column_of_head(loaded, look, options);
}

ViewFrame row(LoadedTrace& loaded, const LineLook& look, const LookOptions& options) {
  return line_frame(loaded, look, row_line(loaded, look, options), true);
}

ViewFrame column(LoadedTrace& loaded, const LineLook& look, const LookOptions& options) {
  return line_frame(loaded, look, column_line(loaded, look, options), false);
}

}  // namespace clearhead::viewer::questions
