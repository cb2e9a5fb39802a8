// Rows and columns: one line of a map, or several added up, under a weight kind and the attention-sink rule.
//
//   used_ij = P_ij · norm_j · (0 at sinks unless marked) / (1 − Σ_{j∈sinks} P_ij when renormalising)
//
// Sums run in double over exact f32 weights; a lone raw row comes out as the same bits as the map's.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/format.h"
#include "spec/base2.h"
#include "viewer/source.h"

namespace clearhead {
namespace {

constexpr int64_t kBlockWeights = int64_t{1} << 22;  // held at once: 16 MB
constexpr size_t kMostRanges = 256;
constexpr double kSmallestRest = 1e-12;

void check_cancel(const LookOptions& options) {
  if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "the look was cancelled");
}

// Ranges of entries in one state; the hull when there are too many.
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
  Json out = Json::array();
  for (const Range& range : ranges) out.push(Json(Json::Array{range.begin, range.end}));
  return out;
}

struct TopItem {
  Range range{};
  double weight = 0;
};

// Heaviest first, ties to the earlier; nothing that weighs nothing.
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

Json ranges_json(const std::vector<Range>& ranges) {
  Json out = Json::array();
  for (const Range& range : ranges) out.push(Json(Json::Array{range.begin, range.end}));
  return out;
}

// The record and row of a query that was kept.
struct KeptRow {
  const AttentionRecord* record = nullptr;
  int64_t row = 0;
};
KeptRow kept_row(const LayerMap& map, int64_t query) {
  for (const Frame& frame : map.frames()) {
    if (query >= frame.queries.begin && query < frame.queries.end) return {&frame.record, query - frame.queries.begin};
  }
  return {};
}

double stat(const Tensor& rows, int64_t head, int64_t row) {
  return static_cast<double>(rows.data<float>()[head * rows.stride(1) + row * rows.stride(2)]);
}

// −Σ P ln P, the share of a sink logit as one more outcome.
double entropy_of(const float* weights, int64_t count, const KeptRow& kept, int64_t head) {
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) {
    if (weights[j] > 0) sum -= static_cast<double>(weights[j]) * std::log(static_cast<double>(weights[j]));
  }
  const Softmax* softmax = std::get_if<Softmax>(&kept.record->spec.normaliser);
  if (!softmax || !softmax->sinks) return sum;
  const double logit = static_cast<double>(softmax->sinks->data<float>()[head * softmax->sinks->stride(0)]);
  const double share = std::exp2(in_base_2(logit) - stat(kept.record->rows.m, head, kept.row)) / stat(kept.record->rows.l, head, kept.row);
  return share > 0 ? sum - share * std::log(share) : sum;
}

// 1 − the mass at the sinks: without cancellation where rows sum to one, by adding up what remains.
double rest_of(const float* weights, const FamilyFacts& known, double at_sinks) {
  if (!known.sums_to_one) return std::max(kSmallestRest, 1 - at_sinks);
  double rest = 0;
  size_t next = 0;
  for (int64_t j = 0; j < known.keys; ++j) {
    const bool is_sink = next < known.sinks.size() && known.sinks[next] == j;
    if (is_sink) ++next;
    if (!is_sink && weights[j] > 0) rest += static_cast<double>(weights[j]);
  }
  return std::max(kSmallestRest, rest);
}

// Adds one row's weights (NaN hidden, −1 never scored) to the sums of a line.
void add_row(const float* weights, const FamilyFacts& known, SinkRule rule, const std::vector<float>& norm, LiveSource::Line& line,
             std::vector<double>& sums) {
  double at_sinks = 0;
  for (const int64_t key : known.sinks) at_sinks += weights[key] > 0 ? static_cast<double>(weights[key]) : 0.0;
  const double divisor = rule == SinkRule::kRenormalise && at_sinks > 0 ? rest_of(weights, known, at_sinks) : 1.0;
  for (size_t at = 0; at < sums.size(); ++at) {
    if (std::isnan(weights[at])) continue;
    if (weights[at] < 0) {
      if (line.state[at] != 1) line.state[at] = 2;
      continue;
    }
    line.state[at] = 1;
    const double weight = static_cast<double>(weights[at]) / divisor;
    sums[at] += norm.empty() ? weight : weight * static_cast<double>(norm[at]);
  }
  line.sink_mass += at_sinks;
  ++line.count;
}

}  // namespace

LiveSource::Line LiveSource::row_line(const LineLook& look, const LookOptions& options) {
  check_head(look.at);
  check_rows(look.at, look.ranges);
  const FamilyFacts& known = facts(look.at.family);
  const LayerMap map = trace_->map(known.shape.name, look.at.layer);
  const std::vector<float> norm = norms(look.at);
  const int64_t keys = known.keys, block = std::max<int64_t>(1, std::min<int64_t>(48, kBlockWeights / std::max<int64_t>(1, keys)));
  Line line;
  line.state.assign(static_cast<size_t>(keys), 0);
  std::vector<double> sums(static_cast<size_t>(keys), 0.0);
  int64_t wanted = 0;
  for (const Range& range : look.ranges) wanted += range.size();
  for (const Range& range : look.ranges) {
    for (int64_t begin = range.begin; begin < range.end; begin += block) {
      check_cancel(options);
      const Range rows{begin, std::min(range.end, begin + block)};
      const Tile tile = map.tile(look.at.head, {.queries = rows, .keys = {0, keys}}, {.cancel = options.cancel});
      for (int64_t r = 0; r < rows.size(); ++r) {
        const float* weights = tile.max.data<float>() + r * keys;
        add_row(weights, known, look.at.sink, norm, line, sums);
        if (wanted > 1) continue;
        const KeptRow kept = kept_row(map, begin);
        line.entropy = entropy_of(weights, keys, kept, look.at.head);
        if (!std::holds_alternative<Softmax>(kept.record->spec.normaliser)) continue;
        line.log_sum_exp = stat(kept.record->rows.m, look.at.head, kept.row) * std::numbers::ln2 +
                           std::log(stat(kept.record->rows.l, look.at.head, kept.row));
      }
    }
  }
  const double divisor = look.mean && line.count > 0 ? static_cast<double>(line.count) : 1.0;
  line.sink_mass /= divisor;
  if (look.at.sink != SinkRule::kMark) {
    for (const int64_t key : known.sinks) sums[static_cast<size_t>(key)] = 0;
  }
  for (const double sum : sums) {
    line.values.push_back(static_cast<float>(sum / divisor));
    line.total += sum / divisor;
  }
  return line;
}

const std::vector<float>& LiveSource::sink_masses(const HeadLook& at) {
  const FamilyFacts& known = facts(at.family);
  const HeadKey key_of_head{known.shape.name, at.layer, at.head};
  const auto found = sink_masses_.find(key_of_head);
  if (found != sink_masses_.end()) return found->second;
  std::vector<double> sums(static_cast<size_t>(known.queries), 0.0);
  const LayerMap map = trace_->map(known.shape.name, at.layer);
  for (const int64_t key : known.sinks) {
    const std::vector<float> column = map.column(at.head, key, {0, known.queries});
    for (size_t i = 0; i < column.size(); ++i) sums[i] += column[i] > 0 ? static_cast<double>(column[i]) : 0.0;
  }
  return sink_masses_[key_of_head] = std::vector<float>(sums.begin(), sums.end());
}

LiveSource::Line LiveSource::column_line(const LineLook& look, const LookOptions& options) {
  check_head(look.at);
  check_all_rows(look.at, "A column");
  const FamilyFacts& known = facts(look.at.family);
  for (const Range& range : look.ranges) {
    if (range.begin < 0 || range.end > known.keys || range.size() <= 0) {
      fail(ErrorCode::kInvalidArgument, "k: {}-{} is not a range of the {} keys.", range.begin, range.end, known.keys);
    }
  }
  const LayerMap map = trace_->map(known.shape.name, look.at.layer);
  const std::vector<float> norm = norms(look.at);
  const bool renorm = look.at.sink == SinkRule::kRenormalise;
  const std::vector<float> none;
  const std::vector<float>& masses = renorm && !known.sinks.empty() ? sink_masses(look.at) : none;
  Line line;
  line.state.assign(static_cast<size_t>(known.queries), 0);
  std::vector<double> sums(static_cast<size_t>(known.queries), 0.0);
  for (const Range& range : look.ranges) {
    line.count += range.size();
    const int64_t block = std::max<int64_t>(48, kBlockWeights / range.size() / 48 * 48);
    for (int64_t begin = 0; begin < known.queries; begin += block) {
      check_cancel(options);
      const Range rows{begin, std::min(known.queries, begin + block)};
      const Tile tile = map.tile(look.at.head, {.queries = rows, .keys = range}, {.cancel = options.cancel});
      const float* weight = tile.max.data<float>();
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        const size_t at = static_cast<size_t>(i);
        const double divisor = masses.empty() ? 1.0 : std::max(kSmallestRest, 1.0 - static_cast<double>(masses[at]));
        for (int64_t key = range.begin; key < range.end; ++key, ++weight) {
          if (std::isnan(*weight)) continue;
          if (*weight < 0) {
            if (line.state[at] != 1) line.state[at] = 2;
            continue;
          }
          line.state[at] = 1;
          const bool is_sink = std::binary_search(known.sinks.begin(), known.sinks.end(), key);
          if (is_sink) line.sink_mass += static_cast<double>(*weight);
          if (is_sink && look.at.sink != SinkRule::kMark) continue;
          sums[at] += static_cast<double>(*weight) * (norm.empty() ? 1.0 : static_cast<double>(norm[static_cast<size_t>(key)])) / divisor;
        }
      }
    }
  }
  const double divisor = look.mean && line.count > 0 ? static_cast<double>(line.count) : 1.0;
  line.sink_mass /= divisor;
  for (const double sum : sums) {
    line.values.push_back(static_cast<float>(sum / divisor));
    line.total += sum / divisor;
  }
  return line;
}

ViewFrame LiveSource::line_frame(const LineLook& look, const Line& line, bool is_row) {
  const int64_t count = static_cast<int64_t>(line.values.size());
  Json top = Json::array();
  for (const TopItem& item : heaviest(items_of(line.values, words_, look.words), look.top)) {
    top.push(Json::object({{"begin", item.range.begin}, {"end", item.range.end}, {"weight", item.weight}}));
  }
  const Range values = look.values.end == LineLook::kAll ? Range{0, count} : look.values;
  if (values.begin < 0 || values.end > count || values.begin > values.end) {
    fail(ErrorCode::kInvalidArgument, "values: {}-{} is not a range of {}.", values.begin, values.end, count);
  }
  int64_t visible = 0;
  for (const uint8_t state : line.state) visible += state == 1;
  ViewFrame frame;
  frame.header = Json::object({{"family", facts(look.at.family).shape.name},
                               {"layer", look.at.layer},
                               {"head", look.at.head},
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
  if (look.profile > 0) {
    std::vector<float> most(static_cast<size_t>(look.profile), 0.0f), sum(static_cast<size_t>(look.profile), 0.0f);
    for (int64_t b = 0; b < look.profile; ++b) {
      double total = 0;
      for (int64_t i = b * count / look.profile; i < (b + 1) * count / look.profile; ++i) {
        total += static_cast<double>(line.values[static_cast<size_t>(i)]);
        most[static_cast<size_t>(b)] = std::max(most[static_cast<size_t>(b)], line.values[static_cast<size_t>(i)]);
      }
      sum[static_cast<size_t>(b)] = static_cast<float>(total);
    }
    frame.add("profile_max", most);
    frame.add("profile_sum", sum);
  }
  return frame;
}

ViewFrame LiveSource::row(const LineLook& look, const LookOptions& options) { return line_frame(look, row_line(look, options), true); }

ViewFrame LiveSource::column(const LineLook& look, const LookOptions& options) {
  return line_frame(look, column_line(look, options), false);
}

}  // namespace clearhead
