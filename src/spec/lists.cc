// Lists made from what people have: a graph's edges, a pattern of blocks.
#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/spec.h"

namespace clearhead {
namespace {

// One map's lists, from the keys of each query block.
Lists lists_of(const std::vector<std::vector<int32_t>>& blocks, int64_t query_block, int64_t key_block) {
  std::vector<int32_t> offsets = {0}, keys;
  for (const auto& list : blocks) {
    keys.insert(keys.end(), list.begin(), list.end());
    offsets.push_back(static_cast<int32_t>(keys.size()));
  }
  return {.query_block = query_block,
          .key_block = key_block,
          .offsets = Tensor::from(offsets, {1, 1, static_cast<int64_t>(offsets.size())}),
          .keys = Tensor::from(keys, {1, 1, static_cast<int64_t>(keys.size())})};
}

}  // namespace

Graph graph(const Tensor& edges, int64_t queries) {
  if (!edges.defined() || edges.dtype() != DType::kI32 || edges.rank() != 2 || edges.size(0) != 2) {
    fail(ErrorCode::kShape, "graph: edges: expected i32 [2, edge] (who attends, to whom), found {} {}",
         edges.defined() ? to_string(edges.dtype()) : "nothing", edges.defined() ? to_string(edges.shape()) : "");
  }
  const Tensor both = edges.contiguous();
  const int32_t *from = both.data<int32_t>(), *to = from + edges.size(1);
  for (int64_t e = 0; e < edges.size(1); ++e) {
    if (from[e] < 0 || from[e] >= queries || to[e] < 0) {
      fail(ErrorCode::kInvalidArgument, "graph: edge {} goes from {} to {}; expected queries 0 to {} and keys from 0", e, from[e], to[e],
           queries - 1);
    }
  }
  Graph out;
  out.order.resize(static_cast<size_t>(edges.size(1)));
  std::iota(out.order.begin(), out.order.end(), 0);
  std::stable_sort(out.order.begin(), out.order.end(),
                   [&](int32_t a, int32_t b) { return from[a] != from[b] ? from[a] < from[b] : to[a] < to[b]; });
  const auto same = [&](int32_t a, int32_t b) { return from[a] == from[b] && to[a] == to[b]; };
  out.order.erase(std::unique(out.order.begin(), out.order.end(), same), out.order.end());
  std::vector<int32_t> offsets(static_cast<size_t>(queries) + 1, 0), keys;
  for (const int32_t edge : out.order) {
    ++offsets[static_cast<size_t>(from[edge]) + 1];
    keys.push_back(to[edge]);
  }
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  out.lists.offsets = Tensor::from(offsets, {1, 1, queries + 1});
  out.lists.keys = Tensor::from(keys, {1, 1, static_cast<int64_t>(keys.size())});
  return out;
}

Lists big_bird(int64_t length, const BigBird& pattern) {
  if (pattern.block < 1 || pattern.window < 0 || pattern.global < 0 || pattern.random < 0) {
    fail(ErrorCode::kInvalidArgument,
         "big_bird: block {}, window {}, global {}, random {}; expected a block of 1 or more, the others 0 or more", pattern.block,
         pattern.window, pattern.global, pattern.random);
  }
  const int64_t blocks = (length + pattern.block - 1) / pattern.block;
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(blocks));
  for (int64_t b = 0; b < blocks; ++b) {
    std::vector<uint8_t> sees(static_cast<size_t>(blocks), b < pattern.global);
    std::fill_n(sees.begin(), std::min(pattern.global, blocks), uint8_t{1});
    for (int64_t near = std::max<int64_t>(0, b - pattern.window); near <= std::min(blocks - 1, b + pattern.window); ++near) {
      sees[static_cast<size_t>(near)] = 1;
    }
    int64_t unseen = std::count(sees.begin(), sees.end(), uint8_t{0});
    RandomSequence dice(mix_bits(pattern.seed) ^ static_cast<uint64_t>(b));
    for (int64_t n = 0; n < pattern.random && unseen > 0; ++n, --unseen) {  // the r-th of those not seen yet
      size_t r = dice.roll(static_cast<size_t>(unseen)), at = 0;
      while (sees[at] != 0 || r-- > 0) ++at;
      sees[at] = 1;
    }
    for (int64_t k = 0; k < blocks; ++k) {
      if (sees[static_cast<size_t>(k)] != 0) lists[static_cast<size_t>(b)].push_back(static_cast<int32_t>(k));
    }
  }
  return lists_of(lists, pattern.block, pattern.block);
}

}  // namespace clearhead
