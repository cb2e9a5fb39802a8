#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/registry.h"
#include "base/random.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

Tensor random_tensor(Shape shape, uint64_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(4 * random_unit(seed, static_cast<uint64_t>(i)) - 2);
  return tensor;
}

std::vector<float> weights_of(const AttentionRecord& record, int64_t batch, int64_t head, int64_t row) {
  std::vector<float> out(static_cast<size_t>(key_length(record.keys)));
  backend().weights({.record = record,
                     .batch = batch,
                     .head = head,
                     .rows = &row,
                     .row_count = 1,
                     .keys = {0, key_length(record.keys)},
                     .out = out.data(),
                     .out_stride = key_length(record.keys)});
  return out;
}

std::vector<int32_t> list_of(const Lists& lists, int64_t batch, int64_t head, int64_t block) {
  const int64_t map = batch * lists.offsets.size(1) + head;
  const int32_t* offsets = lists.offsets.data<int32_t>() + map * lists.offsets.size(2);
  const int32_t* keys = lists.keys.data<int32_t>() + map * lists.keys.size(2);
  return {keys + offsets[block], keys + offsets[block + 1]};
}

constexpr int64_t kBatch = 2, kHeads = 4, kKeyHeads = 2, kLength = 100, kWidth = 16;

TEST(Select, TheTopKeysOfAQueryAreItsLargestWeights) {
  const Tensor q = random_tensor({kBatch, kHeads, kLength, kWidth}, 1), k = random_tensor({kBatch, kKeyHeads, kLength, kWidth}, 2),
               v = random_tensor({kBatch, kKeyHeads, kLength, 8}, 3);
  AttentionSpec spec{.topology = causal()};
  const AttentionRecord full = attend(q, k, v, spec).record;
  const Lists lists = select_top_keys(q, k, spec, 6);
  for (const int64_t query : {0, 3, 50, 99}) {
    const auto list = list_of(lists, 1, 3, query);
    const std::vector<float> weights = weights_of(full, 1, 3, query);
    std::vector<int32_t> expected(static_cast<size_t>(query) + 1);
    std::iota(expected.begin(), expected.end(), 0);
    std::stable_sort(expected.begin(), expected.end(),
                     [&](int32_t a, int32_t b) { return weights[static_cast<size_t>(a)] > weights[static_cast<size_t>(b)]; });
    expected.resize(std::min<size_t>(expected.size(), 6));
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(list, expected) << "query " << query;
  }
  // The record keeps the lists: attention over them is softmax over just those keys.
  spec.topology.lists = lists;
  const std::vector<float> all = weights_of(full, 1, 3, 99), few = weights_of(attend(q, k, v, spec).record, 1, 3, 99);
  double kept = 0;
  for (const int32_t key : list_of(lists, 1, 3, 99)) kept += static_cast<double>(all[static_cast<size_t>(key)]);
  for (size_t j = 0; j < all.size(); ++j) {
    const auto list = list_of(lists, 1, 3, 99);
    const bool listed = std::binary_search(list.begin(), list.end(), static_cast<int32_t>(j));
    EXPECT_NEAR(static_cast<double>(few[j]), listed ? static_cast<double>(all[j]) / kept : 0, 1e-6);
  }
}

TEST(Select, TheTopBlocksHoldTheBestMeansAndTheQuerysOwn) {
  const Tensor q = random_tensor({1, kHeads, kLength, kWidth}, 4), k = random_tensor({1, kKeyHeads, kLength, kWidth}, 5);
  const AttentionSpec spec{.topology = causal()};
  const Lists lists = select_top_blocks(q, k, spec, {.query_block = 16, .key_block = 8, .count = 4});
  EXPECT_EQ(list_of(lists, 0, 0, 0), std::vector<int32_t>({0, 1}));  // there are no others before it
  const auto list = list_of(lists, 0, 1, 5);                         // queries 80 to 95
  EXPECT_EQ(list.size(), 4U);
  EXPECT_TRUE(std::binary_search(list.begin(), list.end(), 10) && std::binary_search(list.begin(), list.end(), 11));
  std::vector<double> scores;
  for (int64_t block = 0; block < 10; ++block) {
    double score = 0;
    for (int64_t c = 0; c < kWidth; ++c) {
      double query = 0, key = 0;
      for (int64_t i = 80; i < 96; ++i) query += static_cast<double>(q.data<float>()[(kLength + i) * kWidth + c]);
      for (int64_t j = block * 8; j < block * 8 + 8; ++j) key += static_cast<double>(k.data<float>()[j * kWidth + c]);
      score += query * key;
    }
    scores.push_back(score);
  }
  std::vector<int32_t> best = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::sort(best.begin(), best.end(),
            [&](int32_t a, int32_t b) { return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)]; });
  EXPECT_TRUE(std::binary_search(list.begin(), list.end(), best[0]) && std::binary_search(list.begin(), list.end(), best[1]));
}

TEST(Select, ABucketHoldsWhatPointsTheSameWay) {
  const Tensor x = random_tensor({1, 1, kLength, kWidth}, 6);
  const Lists one = select_same_bucket(x, x, {.buckets = 8, .rounds = 1, .seed = 9});
  const Lists four = select_same_bucket(x, x, {.buckets = 8, .rounds = 4, .seed = 9});
  const auto cosine = [&](int64_t i, int64_t j) {
    double dot = 0, a = 0, b = 0;
    for (int64_t c = 0; c < kWidth; ++c) {
      const double left = static_cast<double>(x.data<float>()[i * kWidth + c]),
                   right = static_cast<double>(x.data<float>()[j * kWidth + c]);
      dot += left * right, a += left * left, b += right * right;
    }
    return dot / std::sqrt(a * b);
  };
  double listed = 0, others = 0;
  int64_t listed_count = 0, others_count = 0;
  for (int64_t i = 0; i < kLength; ++i) {
    const auto met = list_of(one, 0, 0, i), more = list_of(four, 0, 0, i);
    EXPECT_TRUE(std::binary_search(met.begin(), met.end(), static_cast<int32_t>(i)));
    EXPECT_TRUE(std::includes(more.begin(), more.end(), met.begin(), met.end()));
    EXPECT_LT(met.size(), 50U);
    for (int64_t j = 0; j < kLength; ++j) {
      if (i == j) continue;
      const bool in = std::binary_search(met.begin(), met.end(), static_cast<int32_t>(j));
      (in ? listed : others) += cosine(i, j);
      ++(in ? listed_count : others_count);
    }
  }
  EXPECT_GT(listed / static_cast<double>(listed_count), others / static_cast<double>(others_count) + 0.1);
  Tensor turned = x.clone();  // lengths do not matter, opposites never meet
  for (int64_t i = 0; i < turned.numel(); ++i) turned.mutable_data<float>()[i] *= i / kWidth % 2 == 0 ? 3.0F : -3.0F;
  const Lists against = select_same_bucket(x, turned, {.buckets = 8, .rounds = 1, .seed = 9});
  for (int64_t i = 0; i < kLength; ++i) {
    const auto met = list_of(against, 0, 0, i);
    EXPECT_EQ(std::binary_search(met.begin(), met.end(), static_cast<int32_t>(i)), i % 2 == 0);
  }
}

TEST(Select, ImpossibleChoicesAreRefused) {
  const Tensor x = random_tensor({1, 1, 8, 4}, 7);
  EXPECT_THROW(select_top_keys(x, x, {}, 0), Error);
  EXPECT_THROW(select_top_blocks(x, x, {}, {.query_block = 0}), Error);
  EXPECT_THROW(select_same_bucket(x, x, {.buckets = 7}), Error);
  EXPECT_THROW(select_top_keys(x, random_tensor({1, 1, 8, 5}, 8), {}, 2), Error);
}

}  // namespace
}  // namespace clearhead
