// Selection of keys by content: top keys, top blocks and hash buckets, against softmax over the selected keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "backends/oracle.h"
#include "backends/ref/backward.h"
#include "backends/registry.h"
#include "base/random.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "on_every_backend.h"
#include "random_tensor.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

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

std::vector<int32_t> list_of(const BlockSparse& lists, int64_t batch, int64_t head, int64_t block) {
  const int64_t map = batch * lists.offsets.size(1) + head;
  const int32_t* offsets = lists.offsets.data<int32_t>() + map * lists.offsets.size(2);
  const int32_t* keys = lists.keys.data<int32_t>() + map * lists.keys.size(2);
  return {keys + offsets[block], keys + offsets[block + 1]};
}

constexpr int64_t kBatch = 2, kHeads = 4, kKeyHeads = 2, kLength = 100, kWidth = 16;

TEST(Select, TheTopKeysOfAQueryAreItsLargestWeights) {
  on_every_backend([] {
    const Tensor q = random_tensor({kBatch, kHeads, kLength, kWidth}, 1), k = random_tensor({kBatch, kKeyHeads, kLength, kWidth}, 2),
                 v = random_tensor({kBatch, kKeyHeads, kLength, 8}, 3);
    AttentionSpec spec{.topology = causal()};
    const AttentionRecord full = attend(q, k, v, spec).record;
    const BlockSparse lists = select_top_keys(q, k, spec, 6);
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
    // The record keeps the lists: attention over them is softmax over these keys only.
    spec.topology.block_sparse = lists;
    const std::vector<float> all = weights_of(full, 1, 3, 99), few = weights_of(attend(q, k, v, spec).record, 1, 3, 99);
    double kept = 0;
    for (const int32_t key : list_of(lists, 1, 3, 99)) kept += static_cast<double>(all[static_cast<size_t>(key)]);
    for (size_t j = 0; j < all.size(); ++j) {
      const auto list = list_of(lists, 1, 3, 99);
      const bool listed = std::binary_search(list.begin(), list.end(), static_cast<int32_t>(j));
      EXPECT_NEAR(static_cast<double>(few[j]), listed ? static_cast<double>(all[j]) / kept : 0, tolerance::kWeightF32);
    }
  });
}

TEST(Select, TopBlocksIncludeTheBestMeansAndTheQuerysOwnBlocks) {
  on_every_backend([] {
    const Tensor q = random_tensor({1, kHeads, kLength, kWidth}, 4), k = random_tensor({1, kKeyHeads, kLength, kWidth}, 5);
    const AttentionSpec spec{.topology = causal()};
    const BlockSparse lists = select_top_blocks(q, k, spec, {.query_block = 16, .key_block = 8, .count = 4});
    EXPECT_EQ(list_of(lists, 0, 0, 0), std::vector<int32_t>({0, 1}));  // there are no other blocks before it
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
  });
}

TEST(Select, AllOwnBlocksAreListedEvenBeyondTheCount) {
  const Tensor q = random_tensor({1, 1, 128, kWidth}, 4), k = random_tensor({1, 1, 128, kWidth}, 5);
  for (const Topology& topology : {full(), causal()}) {
    const auto chosen = [&](int64_t count, int64_t block) {
      return list_of(select_top_blocks(q, k, {.topology = topology}, {.query_block = 64, .key_block = 8, .count = count}), 0, 0, block);
    };
    EXPECT_EQ(chosen(4, 0), std::vector<int32_t>({0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(chosen(4, 1), std::vector<int32_t>({8, 9, 10, 11, 12, 13, 14, 15}));
    EXPECT_EQ(chosen(8, 1), chosen(4, 1));
    const auto ten = chosen(10, 1);  // own blocks are included in the count, so two other blocks
    EXPECT_EQ(ten.size(), 10U);
    EXPECT_EQ(std::vector<int32_t>(ten.begin() + 2, ten.end()), chosen(8, 1));
  }
}

Tensor ids(Shape shape, const std::function<int64_t(int64_t batch, int64_t i)>& of) {
  Tensor tensor = Tensor::empty(std::move(shape), DType::kI32);
  for (int64_t i = 0; i < tensor.numel(); ++i)
    tensor.mutable_data<int32_t>()[i] = static_cast<int32_t>(of(i / tensor.size(1), i % tensor.size(1)));
  return tensor;
}

struct Shown {
  const char* name;
  Topology topology;
};

// Features that hide whole blocks, one at a time and all together.
std::vector<Shown> topologies() {
  const Tensor documents = ids({1, kLength}, [](int64_t, int64_t i) { return i < 30 ? 0 : i < 53 ? 1 : 2; });
  const Tensor apart = ids({kBatch, kLength}, [](int64_t batch, int64_t i) { return i >= 90 ? -1 : i / 16 * 7 % (3 + batch); });
  Tensor few = Tensor::zeros({1, kHeads, kLength, kLength}, DType::kBool);
  for (int64_t i = 0; i < few.numel(); ++i) few.mutable_data<bool>()[i] = random_unit(17, static_cast<uint64_t>(i)) < 0.01;
  const Rule bounded = visible([](auto at) { return at.key + 20 * at.head <= at.query; });
  const Rule scattered = visible([](auto at) { return floor(at.key / 23) * 23 == at.key && floor(at.query / 19) * 19 == at.query; });
  std::vector<Shown> out = {
      {"window", window(20, 5)},
      {"start", causal(12, Align::kStart)},
      {"documents", {.segments = Segments{documents, documents}}},
      {"causal documents", {.band = causal().band, .segments = Segments{documents, documents}}},
      {"segments apart", {.segments = Segments{apart, apart}}},
      {"mask", {.mask = Mask{few}}},
      {"lists", {.block_sparse = big_bird(kLength, {.block = 32, .window = 0, .random = 1})}},
      {"bounded rule", {.visible = bounded}},
      {"scattered rule", {.visible = scattered}},
  };
  Tensor half = few.clone();
  for (int64_t i = 0; i < half.numel(); ++i) half.mutable_data<bool>()[i] = random_unit(18, static_cast<uint64_t>(i)) < 0.1;
  out.push_back({"all of them",
                 {.band = window(50, 9).band,
                  .segments = Segments{apart, apart},
                  .mask = Mask{half},
                  .block_sparse = big_bird(kLength, {.block = 32, .window = 1, .random = 0}),
                  .visible = bounded}});
  return out;
}

// Key blocks of 8 that contain a visible pair with queries [16·block, 16·(block + 1)), by the formula.
std::vector<int32_t> blocks_shown(const AttentionSpec& spec, const Tensor& q, const Tensor& k, int64_t batch, int64_t head, int64_t block) {
  std::vector<int32_t> out;
  for (int64_t i = block * 16; i < std::min((block + 1) * 16, q.size(2)); ++i) {
    const OracleRow row = oracle_row(spec, q, k, Tensor(), batch, head, i);
    for (int64_t j = 0; j < k.size(2); ++j) {
      if (!std::isinf(row.scores[static_cast<size_t>(j)])) out.push_back(static_cast<int32_t>(j / 8));
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

TEST(Select, OnlyBlocksWithAVisiblePairAreSelected) {
  const Tensor q = random_tensor({kBatch, kHeads, kLength, 4}, 21), k = random_tensor({kBatch, kKeyHeads, kLength, 4}, 22);
  for (const Shown& shown : topologies()) {
    SCOPED_TRACE(shown.name);
    const AttentionSpec spec{.topology = shown.topology};
    const auto select = [&](int64_t count, bool own) {
      return select_top_blocks(q, k, spec, {.query_block = 16, .key_block = 8, .count = count, .own = own});
    };
    const BlockSparse all = select(kLength, false), all_and_own = select(kLength, true), two = select(2, false), with_own = select(3, true);
    int64_t hidden = 0;
    for (int64_t map = 0; map < kBatch * kHeads; ++map) {
      for (int64_t block = 0; block < 7; ++block) {
        const int64_t batch = map / kHeads, head = map % kHeads;
        const std::vector<int32_t> expected = blocks_shown(spec, q, k, batch, head, block);
        EXPECT_EQ(list_of(all, batch, head, block), expected) << "map " << map << ", block " << block;
        EXPECT_EQ(list_of(all_and_own, batch, head, block), expected) << "map " << map << ", block " << block;
        for (const auto& [lists, count] : {std::pair{&two, size_t{2}}, {&with_own, size_t{3}}}) {
          const auto few = list_of(*lists, batch, head, block);
          EXPECT_EQ(few.size(), std::min(count, expected.size())) << "map " << map << ", block " << block;
          EXPECT_TRUE(std::includes(expected.begin(), expected.end(), few.begin(), few.end())) << "map " << map << ", block " << block;
        }
        hidden += 13 - static_cast<int64_t>(expected.size());
      }
    }
    EXPECT_GT(hidden, 0);
  }
}

TEST(Select, WithFewerQueriesThanKeysPositionsFollowTheAlignment) {
  const Tensor q = random_tensor({1, 2, kLength, 4}, 25), k = random_tensor({1, 2, kLength + 37, 4}, 26);
  const Rule scattered = visible([](auto at) { return floor(at.key / 23) * 23 == at.key && floor(at.query / 19) * 19 == at.query; });
  for (const Topology& topology : {window(20, 5), causal(12, Align::kStart), Topology{.visible = scattered}}) {
    const AttentionSpec spec{.topology = topology};
    const BlockSparse lists = select_top_blocks(q, k, spec, {.query_block = 16, .key_block = 8, .count = 18, .own = false});
    for (int64_t block = 0; block < 7; ++block) EXPECT_EQ(list_of(lists, 0, 1, block), blocks_shown(spec, q, k, 0, 1, block));
  }
}

TEST(Select, BlocksWithANaNMeanAreSelectedOnlyByTheirOwnQueries) {
  const Tensor q = random_tensor({1, 1, 32, 4}, 23);
  Tensor k = random_tensor({1, 1, 32, 4}, 24);
  k.mutable_data<float>()[9 * 4] = std::numeric_limits<float>::quiet_NaN();  // in block 1
  const BlockSparse lists = select_top_blocks(q, k, {}, {.query_block = 8, .key_block = 8, .count = 4});
  for (const int64_t block : {0, 2, 3}) EXPECT_EQ(list_of(lists, 0, 0, block), std::vector<int32_t>({0, 2, 3}));
  EXPECT_EQ(list_of(lists, 0, 0, 1), std::vector<int32_t>({0, 1, 2, 3}));
}

TEST(Select, DecodeStepsOverACacheSelectTheSameKeysAsPrefill) {
  constexpr int64_t kKeys = 600, kRows = 50;  // three pages
  const Tensor q = random_tensor({kBatch, kHeads, kRows, kWidth}, 31), k = random_tensor({kBatch, kKeyHeads, kKeys, kWidth}, 32),
               v = random_tensor({kBatch, kKeyHeads, kKeys, 8}, 33);
  on_every_backend([&] {
    for (const bool slides : {false, true}) {
      AttentionSpec spec{.topology = slides ? causal(39) : causal()};
      KVCache cache;
      cache.append(k, v);
      if (slides) cache.keep_last(kRows + 39);
      EXPECT_EQ(cache.snapshot().first, slides ? KVPage::kLength : 0);
      const BlockSparse rows = select_top_keys(q, k, spec, 6), paged = select_top_keys(q, cache.snapshot(), spec, 6);
      const Tensor last = q.slice(2, kRows - 1, kRows);
      const BlockSparse step = select_top_keys(last, cache.snapshot(), spec, 6);
      for (int64_t map = 0; map < kBatch * kHeads; ++map) {
        const auto of = [&](const BlockSparse& lists, int64_t row) { return list_of(lists, map / kHeads, map % kHeads, row); };
        for (int64_t row = 0; row < kRows; ++row) EXPECT_EQ(of(paged, row), of(rows, row)) << "row " << row;
        EXPECT_EQ(of(step, 0), of(rows, kRows - 1));
        EXPECT_EQ(of(step, 0).size(), 6U);
      }
      AttentionSpec of_rows = spec, of_step = spec;
      of_rows.topology.block_sparse = rows;
      of_step.topology.block_sparse = step;
      const Tensor prefill = attend(q, k, v, of_rows).out.slice(2, kRows - 1, kRows).contiguous();
      const Tensor decode = attend(last, cache.snapshot(), of_step).out;
      for (int64_t i = 0; i < decode.numel(); ++i)
        EXPECT_NEAR(decode.data<float>()[i], prefill.data<float>()[i], 2 * 2 * tolerance::kForwardF32);  // each of the two; |v| ≤ 2
    }
  });
}

// Selection by hash does not read the description: keys of a bucket that the band hides stay hidden.
TEST(Select, BucketsIntersectedWithABandMatchTheFormula) {
  const Tensor q = random_tensor({kBatch, kHeads, kLength, kWidth}, 41), k = random_tensor({kBatch, kKeyHeads, kLength, kWidth}, 42),
               v = random_tensor({kBatch, kKeyHeads, kLength, 8}, 43);
  AttentionSpec spec{.topology = causal()};
  const BlockSparse lists = select_same_bucket(q, k, {.buckets = 4, .rounds = 2, .seed = 3});
  spec.topology.block_sparse = lists;
  on_every_backend([&] {
    const Attended done = attend(q, k, v, spec);
    int64_t shown = 0, hidden = 0;
    for (int64_t row = 0; row < kBatch * kHeads * kLength; ++row) {
      const int64_t batch = row / kLength / kHeads, head = row / kLength % kHeads, i = row % kLength;
      const OracleRow expected = oracle_row(done.record, v, batch, head, i);
      const std::vector<float> found = weights_of(done.record, batch, head, i);
      const auto list = list_of(lists, batch, head, i);
      const double relative = tolerance::weight(expected.largest);
      for (int64_t j = 0; j < kLength; ++j) {
        const size_t at = static_cast<size_t>(j);
        const bool listed = std::binary_search(list.begin(), list.end(), static_cast<int32_t>(j)), both = listed && j <= i;
        ++(both ? shown : hidden);
        EXPECT_EQ(found[at] > 0, both) << "row " << row << ", key " << j;
        EXPECT_NEAR(static_cast<double>(found[at]), expected.weights[at], relative * expected.weights[at])
            << "row " << row << ", key " << j;
      }
      for (int64_t c = 0; c < 8; ++c) {
        const size_t at = static_cast<size_t>(c);
        EXPECT_NEAR(static_cast<double>(done.out.data<float>()[row * 8 + c]), expected.out[at],
                    tolerance::forward(expected.largest) * expected.absolute[at]);
      }
    }
    EXPECT_GT(shown, 1000);
    EXPECT_GT(hidden, 1000);
  });
}

// The lists are constants: gradients are those of attention over the lists, and none passes through the selection.
TEST(Select, GradientsOverSelectedListsMatchTheReference) {
  const Tensor q = random_tensor({kBatch, kHeads, kLength, kWidth}, 51), k = random_tensor({kBatch, kKeyHeads, kLength, kWidth}, 52),
               v = random_tensor({kBatch, kKeyHeads, kLength, 8}, 53), d_out = random_tensor({kBatch, kHeads, kLength, 8}, 54);
  const AttentionSpec plain{.topology = causal()};
  const BlockSparse chosen[] = {select_top_keys(q, k, plain, 6),
                                select_top_blocks(q, k, plain, {.query_block = 16, .key_block = 8, .count = 4}),
                                select_same_bucket(q, k, {.buckets = 4, .rounds = 2, .seed = 3})};
  for (const BlockSparse& lists : chosen) {
    AttentionSpec spec = plain;
    spec.topology.block_sparse = lists;
    const AttentionRecord asked{.spec = spec, .q = q, .keys = k, .query_length = kLength};
    const reference::Gradients expected = reference::gradients(asked, v, d_out, /*exact=*/true);
    on_every_backend([&] {
      const Attended done = attend(q, k, v, spec);
      const AttendGradients found = attend_gradients(done.record, v, done.out, d_out);
      const auto expect_near = [&](const char* name, const Tensor& gradient, const std::vector<reference::Sum>& sums) {
        const double relative = tolerance::gradient(expected.largest);
        for (size_t i = 0; i < sums.size(); ++i)
          ASSERT_NEAR(static_cast<double>(gradient.data<float>()[i]), sums[i].value, relative * sums[i].size) << name << " " << i;
      };
      expect_near("d_q", found.q, expected.q);
      expect_near("d_k", found.k, expected.k);
      expect_near("d_v", found.v, expected.v);
    });
  }
}

TEST(Select, BucketsGroupVectorsOfSimilarDirection) {
  on_every_backend([] {
    const Tensor x = random_tensor({1, 1, kLength, kWidth}, 6);
    const BlockSparse one = select_same_bucket(x, x, {.buckets = 8, .rounds = 1, .seed = 9});
    const BlockSparse four = select_same_bucket(x, x, {.buckets = 8, .rounds = 4, .seed = 9});
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
    Tensor turned = x.clone();  // norms do not matter, and opposite vectors never share a bucket
    for (int64_t i = 0; i < turned.numel(); ++i) turned.mutable_data<float>()[i] *= i / kWidth % 2 == 0 ? 3.0F : -3.0F;
    const BlockSparse against = select_same_bucket(x, turned, {.buckets = 8, .rounds = 1, .seed = 9});
    for (int64_t i = 0; i < kLength; ++i) {
      const auto met = list_of(against, 0, 0, i);
      EXPECT_EQ(std::binary_search(met.begin(), met.end(), static_cast<int32_t>(i)), i % 2 == 0);
    }
  });
}

TEST(Select, ImpossibleChoicesAreRefused) {
  const Tensor x = random_tensor({1, 1, 8, 4}, 7);
  expect_refused(ErrorCode::kInvalidArgument, "count is 0", [&] { select_top_keys(x, x, {}, 0); });
  expect_refused(ErrorCode::kInvalidArgument, "blocks of 0 queries x 64 keys", [&] { select_top_blocks(x, x, {}, {.query_block = 0}); });
  expect_refused(ErrorCode::kInvalidArgument, "7 buckets, 1 rounds", [&] { select_same_bucket(x, x, {.buckets = 7}); });
  expect_refused(ErrorCode::kShape, "q is [1, 1, 8, 4], k is [1, 1, 8, 5]", [&] {
    select_top_keys(x, random_tensor({1, 1, 8, 5}, 8), {}, 2);
  });
  AttentionSpec listed;
  listed.topology.block_sparse = big_bird(8, {.block = 4});
  EXPECT_EQ(select_top_blocks(x, x, listed, {.query_block = 2, .key_block = 4}).key_block, 4);
  expect_refused(ErrorCode::kUnsupported, "blocks of 4 queries x 4 keys, which blocks of 2 x 3 do not divide",
                 [&] { select_top_blocks(x, x, listed, {.query_block = 2, .key_block = 3}); });
  KVCache cache;
  cache.append(random_tensor({1, 1, 300, 4}, 9), random_tensor({1, 1, 300, 4}, 9));
  expect_refused(ErrorCode::kShape, "the cache holds 1 sequences of keys of 4 channels", [&] {
    select_top_keys(random_tensor({2, 1, 1, 4}, 9), cache.snapshot(), {}, 2);
  });
  cache.keep_last(10);
  expect_refused(ErrorCode::kInvalidArgument, "select_top_keys: the cache has released the keys before 256", [&] {
    select_top_keys(random_tensor({1, 1, 1, 4}, 9), cache.snapshot(), {}, 2);
  });
}

}  // namespace
}  // namespace clearhead
