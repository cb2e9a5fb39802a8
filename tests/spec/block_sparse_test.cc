// Lists of keys from graphs and BigBird patterns.
#include <gtest/gtest.h>

#include <set>

#include "clearhead/error.h"
#include "clearhead/spec.h"
#include "refused.h"

namespace clearhead {
namespace {

std::vector<int32_t> list_of(const BlockSparse& lists, int64_t block) {
  const int32_t* offsets = lists.offsets.data<int32_t>();
  const int32_t* keys = lists.keys.data<int32_t>();
  return {keys + offsets[block], keys + offsets[block + 1]};
}

TEST(BlockSparse, GraphEdgesAreSortedDeduplicatedAndKeepTheirOriginalIndex) {
  const Tensor edges = Tensor::from<int32_t>({2, 0, 2, 0, 2, /*to*/ 1, 3, 0, 3, 4}, {2, 5});
  const Graph found = graph(edges, 4);
  EXPECT_EQ(list_of(found.block_sparse, 0), std::vector<int32_t>({3}));  // the repeated edge counts once
  EXPECT_EQ(list_of(found.block_sparse, 1), std::vector<int32_t>());
  EXPECT_EQ(list_of(found.block_sparse, 2), std::vector<int32_t>({0, 1, 4}));
  EXPECT_EQ(list_of(found.block_sparse, 3), std::vector<int32_t>());
  EXPECT_EQ(found.order, std::vector<int32_t>({1, 2, 0, 4}));
  AttentionSpec spec;
  spec.topology.block_sparse = found.block_sparse;
  validate(spec, {.batch = 1, .heads = 2, .key_heads = 2, .queries = 4, .keys = 5, .d_k = 1, .d_v = 1});
  expect_refused(ErrorCode::kInvalidArgument, "edge 0 goes from 2 to 1; expected a query in [0, 2) and a key of 0 or more",
                 [&] { graph(edges, 2); });
  expect_refused(ErrorCode::kShape, "found f32 [2, 5]", [&] { graph(Tensor::zeros({2, 5}), 4); });
}

TEST(BlockSparse, BigBirdSeesItsNeighboursTheGlobalBlocksAndAFewMore) {
  const BigBird pattern{.block = 16, .window = 1, .global = 2, .random = 3, .seed = 5};
  const BlockSparse lists = big_bird(16 * 40 - 3, pattern);
  AttentionSpec spec;
  spec.topology.block_sparse = lists;
  validate(spec, {.batch = 1, .heads = 1, .key_heads = 1, .queries = 637, .keys = 637, .d_k = 1, .d_v = 1});
  std::set<int32_t> chosen;
  for (int32_t b = 0; b < 40; ++b) {
    const std::vector<int32_t> list = list_of(lists, b);
    const std::set<int32_t> seen(list.begin(), list.end());
    for (const int32_t must : {0, 1, b, std::max(0, b - 1), std::min(39, b + 1)}) EXPECT_TRUE(seen.contains(must)) << b << " sees " << must;
    if (b < 2) {
      EXPECT_EQ(seen.size(), 40U);
    }
    if (b > 3 && b < 39) {
      EXPECT_EQ(seen.size(), 8U) << b;
      chosen.insert(seen.begin(), seen.end());
    }
  }
  EXPECT_GT(chosen.size(), 35U);  // the random blocks are not always the same
  EXPECT_EQ(list_of(big_bird(64, {.block = 16, .window = 9, .random = 9}), 3).size(), 4U);
}

}  // namespace
}  // namespace clearhead
