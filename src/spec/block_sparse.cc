// Builds a BlockSparse from the edges of a graph or from BigBird's pattern of blocks.
#include "spec/block_sparse.h"

#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "base/random.h"

namespace clearhead {
BlockSparse gathered(const std::vector<std::vector<int32_t>>& lists, int64_t batch, int64_t heads, int64_t query_block, int64_t key_block) {
  const int64_t maps = batch * heads, blocks = maps > 0 ? static_cast<int64_t>(lists.size()) / maps : 0;
  std::vector<int64_t> totals(static_cast<size_t>(maps), 0);
  for (int64_t i = 0; i < maps * blocks; ++i)
    totals[static_cast<size_t>(i / blocks)] += static_cast<int64_t>(lists[static_cast<size_t>(i)].size());
  const int64_t most = maps > 0 ? *std::max_element(totals.begin(), totals.end()) : 0;
  if (most > INT32_MAX) fail(ErrorCode::kUnsupported, "lists: {} entries in one head; lists hold up to 2^31 - 1", most);
  BlockSparse out{.query_block = query_block, .key_block = key_block};
  out.offsets = Tensor::zeros({batch, heads, blocks + 1}, DType::kI32);
  out.keys = Tensor::zeros({batch, heads, most}, DType::kI32);
  int32_t* offsets = maps > 0 ? out.offsets.mutable_data<int32_t>() : nullptr;
  int32_t* keys = maps * most > 0 ? out.keys.mutable_data<int32_t>() : nullptr;
  for (int64_t map = 0; map < maps; ++map) {
    int32_t total = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const auto& list = lists[static_cast<size_t>(map * blocks + b)];
      std::copy(list.begin(), list.end(), keys + map * most + total);
      total += static_cast<int32_t>(list.size());
      offsets[map * (blocks + 1) + b + 1] = total;
    }
  }
  return out;
}

Graph graph(const Tensor& edges, int64_t queries) {
  if (!edges.defined() || edges.dtype() != DType::kI32 || edges.rank() != 2 || edges.size(0) != 2) {
    fail(ErrorCode::kShape, "graph: edges: expected i32 [2, edge] (query, key), found {} {}",
         edges.defined() ? to_string(edges.dtype()) : "nothing", edges.defined() ? to_string(edges.shape()) : "");
  }
  const Tensor both = edges.contiguous();
  const int32_t *from = both.data<int32_t>(), *to = from + edges.size(1);
  for (int64_t e = 0; e < edges.size(1); ++e) {
    if (from[e] < 0 || from[e] >= queries || to[e] < 0) {
      fail(ErrorCode::kInvalidArgument, "graph: edge {} goes from {} to {}; expected a query in [0, {}) and a key of 0 or more", e, from[e],
           to[e], queries);
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
  out.block_sparse.offsets = Tensor::from(offsets, {1, 1, queries + 1});
  out.block_sparse.keys = Tensor::from(keys, {1, 1, static_cast<int64_t>(keys.size())});
  return out;
}

BlockSparse big_bird(int64_t length, const BigBird& pattern) {
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
    for (int64_t n = 0; n < pattern.random && unseen > 0; ++n, --unseen) {  // add the r-th of the blocks not seen yet
      size_t r = dice.roll(static_cast<size_t>(unseen)), at = 0;
      while (sees[at] != 0 || r-- > 0) ++at;
      sees[at] = 1;
    }
    for (int64_t k = 0; k < blocks; ++k) {
      if (sees[static_cast<size_t>(k)] != 0) lists[static_cast<size_t>(b)].push_back(static_cast<int32_t>(k));
    }
  }
  return gathered(lists, 1, 1, pattern.block, pattern.block);
}

}  // namespace clearhead
