// How much of these queries went to those keys, in every head; and whether what is shown is true.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "backends/oracle.h"
#include "base/format.h"
#include "viewer/source.h"

namespace clearhead {
namespace {

constexpr int64_t kBlockWeights = int64_t{1} << 22;
constexpr int64_t kMostVerifiedRows = 64;

int64_t count_of(const std::vector<Range>& ranges) {
  int64_t count = 0;
  for (const Range& range : ranges) count += range.size();
  return count;
}

void check_ranges(const std::vector<Range>& ranges, int64_t length, const char* what) {
  if (ranges.empty()) fail(ErrorCode::kInvalidArgument, "{}: no range given; expected [[begin, end], …].", what);
  for (const Range& range : ranges) {
    if (range.begin < 0 || range.end > length || range.size() <= 0) {
      fail(ErrorCode::kInvalidArgument, "{}: [{}, {}] is not a range of {}.", what, range.begin, range.end, length);
    }
  }
}

// Ranges without overlaps, ascending.
std::vector<Range> united(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](Range a, Range b) { return a.begin < b.begin; });
  std::vector<Range> out;
  for (const Range& range : ranges) {
    if (!out.empty() && range.begin <= out.back().end) {
      out.back().end = std::max(out.back().end, range.end);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

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

// Σ over a block of weights [rows, keys], each by its key's norm, each row by its divisor. Hidden and never-scored pairs add nothing.
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

// 1 − the mass at the sinks, of every row: without cancellation where rows sum to one, by adding up what remains.
std::vector<double> what_sinks_leave(const LayerMap& map, int64_t head, Range rows, const FamilyFacts& known, const LookOptions& options) {
  const Tile tile = map.tile(head, {.queries = rows, .keys = {0, known.keys}}, {.cancel = options.cancel});
  std::vector<double> out;
  for (int64_t r = 0; r < rows.size(); ++r) {
    const float* weights = tile.max.data<float>() + r * known.keys;
    double all = 0, at_sinks = 0;
    size_t next = 0;
    for (int64_t j = 0; j < known.keys; ++j) {
      const bool is_sink = next < known.sinks.size() && known.sinks[next] == j;
      next += is_sink;
      if (weights[j] > 0) (is_sink ? at_sinks : all) += static_cast<double>(weights[j]);
    }
    out.push_back(std::max(1e-12, known.sums_to_one ? all : 1 - at_sinks));
  }
  return out;
}

Json ranges_count(const std::vector<Range>& ranges) { return Json(count_of(ranges)); }

}  // namespace

ViewFrame LiveSource::mass(const MassLook& look, const LookOptions& options) {
  const FamilyFacts& known = facts(look.family);
  check_ranges(look.rows, known.queries, "rows");
  check_ranges(look.keys, known.keys, "keys");
  const std::vector<Range> rows = united(look.rows), all_keys = united(look.keys);
  check_rows({.family = look.family}, rows);
  const std::vector<Range> keys = look.sink == SinkRule::kMark ? all_keys : without(all_keys, known.sinks);
  const bool renorm = look.sink == SinkRule::kRenormalise && !known.sinks.empty();
  const int64_t heads = known.shape.heads;
  std::vector<float> mass(static_cast<size_t>(known.shape.layers * heads), std::numeric_limits<float>::quiet_NaN());
  const double row_count = static_cast<double>(count_of(rows));
  for (const int layer : known.layers) {
    const LayerMap map = trace_->map(known.shape.name, layer);
    std::vector<double> sums(static_cast<size_t>(heads), 0.0);
    for (const Range& own_rows : rows) {
      for (const Range& own_keys : keys) {
        if (look.weight == WeightKind::kRaw && !renorm) {
          const std::vector<float> part = map.mass(own_rows, own_keys, {.cancel = options.cancel});
          for (size_t h = 0; h < sums.size(); ++h) sums[h] += static_cast<double>(part[h]) * static_cast<double>(own_rows.size());
          continue;
        }
        const int64_t block = std::max<int64_t>(1, kBlockWeights / (renorm ? known.keys : own_keys.size()));
        for (int64_t head = 0; head < heads; ++head) {
          const HeadLook at{known.shape.name, layer, head, look.weight, look.sink};
          const std::vector<float> norm = norms(at);
          for (int64_t begin = own_rows.begin; begin < own_rows.end; begin += block) {
            const Range some{begin, std::min(own_rows.end, begin + block)};
            std::vector<double> divisors(static_cast<size_t>(some.size()), 1.0);
            if (renorm) divisors = what_sinks_leave(map, head, some, known, options);
            const Tile tile = map.tile(head, {.queries = some, .keys = own_keys}, {.cancel = options.cancel});
            sums[static_cast<size_t>(head)] += block_mass(tile, own_keys, norm, divisors);
          }
        }
      }
    }
    for (int64_t h = 0; h < heads; ++h)
      mass[static_cast<size_t>(layer * heads + h)] = static_cast<float>(sums[static_cast<size_t>(h)] / row_count);
    if (options.progress) options.progress(0);  // lets others in between layers
  }
  ViewFrame frame;
  frame.header = Json::object({{"family", known.shape.name},
                               {"rows", ranges_count(rows)},
                               {"keys", ranges_count(all_keys)},
                               {"weight", to_string(look.weight)},
                               {"sink", to_string(look.sink)},
                               {"badge", "exact"}});
  frame.add("mass", mass, {known.shape.layers, heads});
  return frame;
}

namespace {

// The largest difference found so far.
struct Verdict {
  int64_t checked = 0;
  double largest = 0, bound = 0;
  bool within = true;
  Json at = nullptr;

  void take(const HeadLook& look, int64_t query, int64_t key, double shown, double eager, double allowed) {
    ++checked;
    const double difference = std::abs(shown - eager);
    const bool holds = difference <= allowed || (std::isnan(shown) && std::isnan(eager));
    bound = std::max(bound, allowed);
    if (!holds) within = false;
    if (!at.is_null() && !(difference > largest)) return;
    largest = std::max(largest, std::isnan(difference) ? 0.0 : difference);
    at = Json::object({{"layer", look.layer}, {"head", look.head}, {"query", query}, {"key", key}, {"shown", shown}, {"eager", eager}});
  }
};

const Frame* frame_of(const LayerMap& map, int64_t query) {
  for (const Frame& frame : map.frames()) {
    if (query >= frame.queries.begin && query < frame.queries.end) return &frame;
  }
  return nullptr;
}

// Entries of ascending ranges, at most `most` of them, spread evenly.
std::vector<int64_t> spread(const std::vector<Range>& ranges, int64_t most) {
  std::vector<int64_t> all, out;
  for (const Range& range : ranges) {
    for (int64_t i = range.begin; i < range.end; ++i) all.push_back(i);
  }
  const int64_t count = static_cast<int64_t>(all.size()), kept = std::min(count, most);
  for (int64_t k = 0; k < kept; ++k) out.push_back(all[static_cast<size_t>(kept == 1 ? 0 : k * (count - 1) / (kept - 1))]);
  return out;
}

}  // namespace

Json LiveSource::verify(const VerifyLook& look, const LookOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const FamilyFacts& known = facts(look.family);
  check_ranges(look.rows, known.queries, "rows");
  check_ranges(look.keys, known.keys, "keys");
  if (look.heads.empty()) fail(ErrorCode::kInvalidArgument, "heads: none given; expected [[layer, head], …].");
  const std::vector<Range> rows = united(look.rows), keys = united(look.keys);
  check_rows({.family = look.family}, rows);
  Verdict verdict;
  for (const auto& [layer, head] : look.heads) {
    const HeadLook at{known.shape.name, layer, head, look.weight, SinkRule::kMark};
    check_head(at);
    const LayerMap map = trace_->map(known.shape.name, layer);
    const std::vector<float> norm = norms(at);
    for (const int64_t query : spread(rows, kMostVerifiedRows)) {
      if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "verify was cancelled");
      if (options.progress) options.progress(0);
      const Frame* frame = frame_of(map, query);
      const OracleRow eager = oracle_row(frame->record, Tensor(), 0, head, query - frame->queries.begin);
      // A chain of d multiply-adds is off by at most d·ε/2·S (Higham 2002, §3.1): usually 4εS suffices, but equal terms round the same way.
      const double delta = (4 + static_cast<double>(known.shape.d_k) / 2) * 0x1p-23 * eager.largest;
      std::vector<double> expected(static_cast<size_t>(known.keys), std::numeric_limits<double>::quiet_NaN());
      std::vector<double> errors(static_cast<size_t>(known.keys), 0);
      for (size_t j = 0; j < eager.weights.size(); ++j) {
        const size_t key = frame->keys.empty() ? j : static_cast<size_t>(frame->keys[j]);
        expected[key] = eager.weights[j];
        if (eager.scores[j] > -std::numeric_limits<double>::infinity())
          errors[key] = weight_error(frame->record.spec.normaliser, eager, j, delta);
      }
      const std::vector<float> shown = map.row(head, query).weights();
      for (const Range& range : keys) {
        for (int64_t key = range.begin; key < range.end; ++key) {
          const size_t j = static_cast<size_t>(key);
          const double factor = norm.empty() ? 1.0 : static_cast<double>(norm[j]);
          const double allowed = factor * (std::abs(expected[j]) * 1.2e-6 + errors[j]) + 1e-37;
          const double used = norm.empty() ? static_cast<double>(shown[j])
                                           : static_cast<double>(static_cast<float>(static_cast<double>(shown[j]) * factor));
          verdict.take(at, query, key, used, expected[j] * factor, allowed);
        }
      }
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return Json::object({{"checked", verdict.checked},
                       {"of", static_cast<int64_t>(look.heads.size()) * count_of(rows) * count_of(keys)},
                       {"largest_difference", verdict.largest},
                       {"bound", verdict.bound},
                       {"within", verdict.within},
                       {"at", verdict.at},
                       {"seconds", seconds}});
}

}  // namespace clearhead
