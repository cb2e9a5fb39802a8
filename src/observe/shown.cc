// Reads visibility from scores: with q = k = 0 and no terms, the score of a pair is 0 if it is visible and −∞ if it is hidden.
// All heads share one result unless a mask, lists or a rule differs between them.
#include "observe/shown.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "backends/registry.h"
#include "base/parallel.h"

namespace clearhead {
namespace {

bool names_head(const Rule& rule) {
  return std::any_of(rule.nodes.begin(), rule.nodes.end(), [](const RuleNode& node) { return node.op == RuleOp::kHead; });
}

int64_t heads_that_differ(const Topology& topology, int64_t heads) {
  const bool by_mask = topology.mask && topology.mask->visible.size(1) > 1;
  const bool by_lists = topology.block_sparse && (topology.block_sparse->offsets.size(1) > 1 || topology.block_sparse->keys.size(1) > 1);
  return by_mask || by_lists || (topology.visible && names_head(*topology.visible)) ? heads : 1;
}

}  // namespace

ShownPairs::ShownPairs(const AttentionRecord& record, int64_t batch)
    : zeros_{.spec = {.topology = record.spec.topology}, .first_query = record.first_query, .query_length = record.query_length},
      batch_(batch),
      heads_(heads_that_differ(record.spec.topology, record.shape().heads)) {
  const AttentionShape shape = record.shape();
  const Tensor zero = Tensor::zeros({1, 1, 1, 1}), none = Tensor::zeros({1, 1, 1});
  const int64_t rows = record.rows_kept();
  zeros_.q = zero.expand({shape.batch, shape.heads, rows, 1});
  zeros_.keys = zero.expand({shape.batch, shape.heads, shape.keys, 1});
  zeros_.rows.m = zeros_.rows.l = none.expand({shape.batch, shape.heads, rows});
}

void ShownPairs::take(int64_t head, int64_t row, int64_t count, Range keys, std::span<float> shown) const {
  int64_t some[kRows];
  std::iota(some, some + count, row);
  backend().weights({.record = zeros_,
                     .batch = batch_,
                     .head = head,
                     .rows = some,
                     .row_count = count,
                     .keys = keys,
                     .quantity = WeightsCall::Quantity::kScore2,
                     .out = shown.data(),
                     .out_stride = keys.size()});
  for (float& pair : shown.first(static_cast<size_t>(count * keys.size()))) pair = pair == 0 ? 1.0f : 0.0f;
}

std::vector<float> chance_mass(const LayerMap& map, Range rows, Range keys) {
  std::vector<double> sums(static_cast<size_t>(map.heads()), 0.0);
  int64_t looked_at = 0;
  for (const Frame& frame : map.frames()) {
    const Range own{std::max(rows.begin, frame.queries.begin), std::min(rows.end, frame.queries.end)};
    if (own.size() <= 0) continue;
    looked_at += own.size();
    const ShownPairs pairs(frame.record, 0);
    std::vector<uint8_t> inside(static_cast<size_t>(pairs.keys()));
    for (int64_t j = 0; j < pairs.keys(); ++j) {
      const int64_t key = frame.keys.empty() ? j : frame.keys[static_cast<size_t>(j)];
      inside[static_cast<size_t>(j)] = key >= keys.begin && key < keys.end;
    }
    constexpr int64_t kKeys = 1024;
    const int64_t blocks = (own.size() + ShownPairs::kRows - 1) / ShownPairs::kRows;
    std::vector<double> shares(static_cast<size_t>(pairs.heads() * blocks), 0.0);
    parallel_for(pairs.heads() * blocks, [&](int64_t item, int) {
      const int64_t head = item / blocks, begin = own.begin + item % blocks * ShownPairs::kRows;
      const int64_t count = std::min(ShownPairs::kRows, own.end - begin);
      std::vector<float> shown(static_cast<size_t>(ShownPairs::kRows * kKeys));
      std::vector<int64_t> all(static_cast<size_t>(count), 0), some(static_cast<size_t>(count), 0);
      for (int64_t first = 0; first < pairs.keys(); first += kKeys) {
        const Range part{first, std::min(pairs.keys(), first + kKeys)};
        pairs.take(head, begin - frame.queries.begin, count, part, shown);
        for (int64_t at = 0; at < count * part.size(); ++at) {
          if (shown[static_cast<size_t>(at)] == 0) continue;
          ++all[static_cast<size_t>(at / part.size())];
          some[static_cast<size_t>(at / part.size())] += inside[static_cast<size_t>(first + at % part.size())];
        }
      }
      for (size_t r = 0; r < all.size(); ++r)
        shares[static_cast<size_t>(item)] += all[r] > 0 ? static_cast<double>(some[r]) / static_cast<double>(all[r]) : 0.0;
    });
    for (size_t h = 0; h < sums.size(); ++h) {
      const auto from = shares.begin() + (pairs.heads() == 1 ? 0 : static_cast<int64_t>(h) * blocks);
      sums[h] += std::accumulate(from, from + blocks, 0.0);
    }
  }
  std::vector<float> out(sums.size(), std::numeric_limits<float>::quiet_NaN());
  for (size_t h = 0; looked_at > 0 && h < sums.size(); ++h) out[h] = static_cast<float>(sums[h] / static_cast<double>(looked_at));
  return out;
}

}  // namespace clearhead
