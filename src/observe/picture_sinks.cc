// The attention-sink rule: finds the sinks, and removes them from a row or a tile. Definitions: picture.h.
#include <algorithm>
#include <limits>
#include <map>

#include "base/format.h"
#include "base/parallel.h"
#include "observe/picture.h"
#include "observe/shown.h"

namespace clearhead {
namespace {

std::vector<int64_t> segment_ids(const Tensor& ids, int64_t batch) {
  const int64_t row = ids.size(0) == 1 ? 0 : batch;
  std::vector<int64_t> out(static_cast<size_t>(ids.size(1)));
  const int32_t* values = ids.data<int32_t>() + row * ids.stride(0);
  for (size_t i = 0; i < out.size(); ++i) out[i] = values[static_cast<int64_t>(i) * ids.stride(1)];
  return out;
}

// The number of positions inside [begin, end), from an ascending list.
int64_t count_between(const std::vector<int64_t>& positions, int64_t begin, int64_t end) {
  return std::lower_bound(positions.begin(), positions.end(), end) - std::lower_bound(positions.begin(), positions.end(), begin);
}

// For each key, the number of rows that see it, in the head where this number is largest.
std::vector<int64_t> count_shown(const AttentionRecord& record, int64_t batch) {
  constexpr int64_t kKeys = 1024;
  const ShownPairs pairs(record, batch);
  std::vector<int64_t> most(static_cast<size_t>(pairs.keys()), 0);
  parallel_for((pairs.keys() + kKeys - 1) / kKeys, [&](int64_t chunk, int) {
    const Range keys{chunk * kKeys, std::min(pairs.keys(), (chunk + 1) * kKeys)};
    std::vector<float> shown(static_cast<size_t>(ShownPairs::kRows * keys.size()));
    std::vector<int64_t> seen(static_cast<size_t>(keys.size()));
    for (int64_t head = 0; head < pairs.heads(); ++head) {
      std::fill(seen.begin(), seen.end(), 0);
      for (int64_t row = 0; row < pairs.rows(); row += ShownPairs::kRows) {
        const int64_t count = std::min(ShownPairs::kRows, pairs.rows() - row);
        pairs.take(head, row, count, keys, shown);
        for (int64_t at = 0; at < count * keys.size(); ++at)
          seen[static_cast<size_t>(at % keys.size())] += shown[static_cast<size_t>(at)] != 0;
      }
      for (size_t j = 0; j < seen.size(); ++j) {
        int64_t& of_key = most[static_cast<size_t>(keys.begin) + j];
        of_key = std::max(of_key, seen[j]);
      }
    }
  });
  return most;
}

}  // namespace

std::vector<int64_t> rows_that_see(const AttentionRecord& record, int64_t batch) {
  const AttentionShape shape = record.shape();
  const Topology& topology = record.spec.topology;
  if (topology.mask || topology.block_sparse || topology.visible) return count_shown(record, batch);
  std::vector<int64_t> query_ids(static_cast<size_t>(shape.queries), 0), key_ids(static_cast<size_t>(shape.keys), 0);
  if (topology.segments) {
    query_ids = segment_ids(topology.segments->queries, batch);
    key_ids = segment_ids(topology.segments->keys, batch);
  }
  std::map<int64_t, std::vector<int64_t>> positions;  // segment → positions of its kept queries, ascending
  for (int64_t row = 0; row < record.rows_kept(); ++row) {
    const int64_t query = record.first_query + row;
    const int64_t id = query_ids[static_cast<size_t>(query)];
    if (id >= 0) positions[id].push_back(record.position_of(query));
  }
  // Key j is inside query p's band when j − ahead ≤ p ≤ j + back.
  constexpr int64_t kFar = int64_t{1} << 61;
  const int64_t back = std::min(topology.band.back.value_or(kFar), kFar), ahead = std::min(topology.band.ahead.value_or(kFar), kFar);
  std::vector<int64_t> seen(static_cast<size_t>(shape.keys), 0);
  for (int64_t key = 0; key < shape.keys; ++key) {
    const auto segment = positions.find(key_ids[static_cast<size_t>(key)]);
    if (segment != positions.end()) seen[static_cast<size_t>(key)] = count_between(segment->second, key - ahead, key + back + 1);
  }
  return seen;
}

std::vector<int64_t> find_sinks(std::span<const Tensor> layers, int64_t batch, std::span<const int64_t> seen_by,
                                std::span<const uint8_t> delimiters, const SinkThresholds& thresholds) {
  const int64_t keys = static_cast<int64_t>(seen_by.size());
  std::vector<int64_t> heads_above(static_cast<size_t>(keys), 0);
  int64_t heads = 0;
  for (const Tensor& layer : layers) {
    if (layer.rank() != 3 || layer.size(2) != keys) {
      fail(ErrorCode::kInvalidArgument, "sinks: received is {}; expected [batch, head, {}]", to_string(layer.shape()), keys);
    }
    const Tensor sequence = layer.select(0, batch).contiguous();
    const float* mass = sequence.data<float>();
    for (int64_t head = 0; head < sequence.size(0); ++head, ++heads, mass += keys) {
      for (int64_t key = 0; key < keys; ++key) {
        const double rows = static_cast<double>(seen_by[static_cast<size_t>(key)]);
        if (rows > 0 && static_cast<double>(mass[key]) > thresholds.share * rows) ++heads_above[static_cast<size_t>(key)];
      }
    }
  }
  std::vector<int64_t> sinks;
  for (int64_t key = 0; key < keys; ++key) {
    const size_t at = static_cast<size_t>(key);
    const bool delimiter = at < delimiters.size() && delimiters[at] != 0;
    const bool eligible = key == 0 || delimiter || seen_by[at] >= thresholds.rows;
    const double needed = std::max(1.0, thresholds.heads * static_cast<double>(heads));
    if (eligible && static_cast<double>(heads_above[at]) >= needed) sinks.push_back(key);
  }
  return sinks;
}

double apply_sink_rule(std::span<float> row, std::span<const int64_t> sinks, SinkRule rule) {
  double mass = 0, rest = 0;
  for (const int64_t key : sinks) mass += static_cast<double>(row[static_cast<size_t>(key)]);
  if (rule == SinkRule::kMark) return mass;
  for (const int64_t key : sinks) row[static_cast<size_t>(key)] = 0;
  if (rule == SinkRule::kHide) return mass;
  for (const float weight : row) rest += static_cast<double>(weight);  // 1 − mass would lose precision if the sinks take nearly all weight
  if (rest <= 0) return mass;
  for (float& weight : row) weight = static_cast<float>(static_cast<double>(weight) * (rest + mass) / rest);
  return mass;
}

std::vector<float> sink_key_factors(Range keys, std::span<const int64_t> sinks, SinkRule rule) {
  std::vector<float> factors;
  if (rule == SinkRule::kMark) return factors;
  for (const int64_t key : sinks) {
    if (key < keys.begin || key >= keys.end) continue;
    factors.resize(static_cast<size_t>(keys.size()), 1.0f);
    factors[static_cast<size_t>(key - keys.begin)] = std::numeric_limits<float>::quiet_NaN();
  }
  return factors;
}

}  // namespace clearhead
