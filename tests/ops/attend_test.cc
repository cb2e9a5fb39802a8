// The interface of attend() and of the KV cache: dtypes, records, strides, errors, pages that are shared, rounded and dropped.
#include "clearhead/attend.h"

#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>
#include <numeric>

#include "backends/registry.h"
#include "largest.h"
#include "on_every_backend.h"
#include "ops/attend_into.h"
#include "refused.h"
#include "tolerance.h"
#include "waves.h"

namespace clearhead {
namespace {

Tensor counting(Shape shape, float step = 0.37f) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = std::sin(static_cast<float>(i) * step);
  return tensor;
}

// tests/conformance/sweep_test.cc tests the bounds of both.
TEST(Attend, ReturnsTheRequestedEntropyAndDistanceOfEveryRow) {
  const Tensor q = counting({2, 4, 300, 16}), k = counting({2, 2, 300, 16}, 0.11F), v = counting({2, 2, 300, 8}, 0.7F);
  KVCache cache;
  cache.append(k, v);
  for (const AttentionSpec& spec : {AttentionSpec{.topology = causal()}, AttentionSpec{.normaliser = Sigmoid{}}}) {
    const Attended plain = attend(q, k, v, spec);
    const AttendedRows one = attend(q, k, v, spec, {.distance = true}), both = attend(q, k, v, spec, {.entropy = true, .distance = true}),
                       paged = attend(q, cache.snapshot(), spec, {.entropy = true});
    EXPECT_FALSE(one.entropy.defined() || paged.distance.defined());
    const ReductionRequest request{entropy, distance};
    std::vector<int64_t> rows(300);
    std::iota(rows.begin(), rows.end(), 0);
    const ReductionResult swept = backend().sweep({.record = plain.record, .request = request, .rows = rows});
    ASSERT_EQ(both.entropy.shape(), (Shape{2, 4, 300}));
    for (int64_t i = 0; i < both.entropy.numel(); ++i) {
      ASSERT_NEAR(both.entropy.data<float>()[i], swept.entropy.data<float>()[i],
                  tolerance::kSweep * static_cast<double>(2 + swept.entropy.data<float>()[i]))
          << i;
      ASSERT_NEAR(both.distance.data<float>()[i], swept.distance.data<float>()[i],
                  tolerance::kSweep * static_cast<double>(swept.distance.data<float>()[i]))
          << i;
      ASSERT_EQ(one.distance.data<float>()[i], both.distance.data<float>()[i]) << i;
      ASSERT_EQ(paged.entropy.data<float>()[i], both.entropy.data<float>()[i]) << i;
    }
  }
}

std::vector<float> all_weights(const AttentionRecord& record, int64_t head = 0) {
  record.check_fresh();
  const int64_t keys = key_length(record.keys), count = record.rows_kept();
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> out(static_cast<size_t>(count * keys));
  backend().weights({.record = record,
                     .batch = 0,
                     .head = head,
                     .rows = rows.data(),
                     .row_count = count,
                     .keys = {0, keys},
                     .quantity = WeightsCall::Quantity::kWeight,
                     .out = out.data(),
                     .out_stride = keys});
  return out;
}

TEST(Attend, SixteenBitInputsGiveTheRoundedOutputOfTheirWidenedValues) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const Tensor q = to_dtype(counting({1, 2, 9, 4}), dtype), k = to_dtype(counting({1, 1, 11, 4}), dtype);
    const Tensor v = to_dtype(counting({1, 1, 11, 6}), dtype);
    const Attended result = attend(q, k, v, {.topology = causal()}), wide = attend(to_f32(q), to_f32(k), to_f32(v), {.topology = causal()});
    EXPECT_EQ(result.out.dtype(), dtype);
    EXPECT_EQ(result.record.stamp.dtype, dtype);
    EXPECT_TRUE(result.record.q.shares_storage_with(q));
    EXPECT_TRUE(std::get<Tensor>(result.record.keys).shares_storage_with(k));
    const Tensor out = to_f32(result.out);
    const float unit = dtype == DType::kBF16 ? 0x1p-7f : 0x1p-10f;
    for (int64_t i = 0; i < out.numel(); ++i) EXPECT_NEAR(out.data<float>()[i], wide.out.data<float>()[i], unit) << to_string(dtype);
    const std::vector<float> weights = all_weights(result.record), expected = all_weights(wide.record);
    for (size_t i = 0; i < weights.size(); ++i)
      EXPECT_NEAR(weights[i], expected[i], 2 * tolerance::kWeightF32 * static_cast<double>(expected[i])) << to_string(dtype);
  }
}

TEST(Attend, MixedOrNonFloatDtypesAreRefusedByName) {
  const Tensor wide = counting({1, 2, 3, 4}), narrow = to_dtype(wide, DType::kBF16), half = to_dtype(wide, DType::kF16);
  EXPECT_EQ(error_of([&] { (void)attend(narrow, wide, narrow); }),
            "kUnsupported: attend: k is f32, q is bf16; expected the same dtype for q, k and v (to_dtype() converts)");
  EXPECT_EQ(error_of([&] { (void)attend(wide, wide, half); }),
            "kUnsupported: attend: v is f16, q is f32; expected the same dtype for q, k and v (to_dtype() converts)");
  EXPECT_EQ(error_of([&] {
              (void)attend(Tensor::zeros({1, 2, 3, 4}, DType::kI32), wide, wide);
            }),
            "kUnsupported: attend: q is i32; expected f32, bf16 or f16");
  Tensor out = Tensor::empty({1, 2, 3, 4});
  EXPECT_EQ(error_of([&] { (void)attend_into(narrow, narrow, narrow, {}, out); }),
            "kShape: attend: out: expected bf16 [1, 2, 3, 4], found f32 [1, 2, 3, 4]");
}

TEST(Attend, TheRecordSharesItsInputsAndDescribesTheCall) {
  const Tensor q = counting({1, 2, 3, 4}), k = counting({1, 1, 5, 4}), v = counting({1, 1, 5, 6});
  const Attended result = attend(q, k, v, {.topology = causal()});
  EXPECT_EQ(result.out.shape(), (Shape{1, 2, 3, 6}));
  EXPECT_TRUE(result.record.q.shares_storage_with(q));
  EXPECT_TRUE(std::get<Tensor>(result.record.keys).shares_storage_with(k));
  EXPECT_EQ(result.record.query_length, 3);
  EXPECT_EQ(result.record.stamp.isa, backend().isa);
  EXPECT_EQ(result.record.stamp.versions.size(), 2u);
  EXPECT_NO_THROW(result.record.check_fresh());
}

TEST(Attend, TheRecordIsStaleAfterAnOperandChanged) {
  Tensor q = counting({1, 1, 2, 4}), k = counting({1, 1, 3, 4});
  const Attended result = attend(q, k, counting({1, 1, 3, 4}));
  k.mutable_data<float>()[0] = 7;
  EXPECT_NE(error_of([&] { result.record.check_fresh(); }).find("kStale: record: operand \"k\""), std::string::npos);
}

TEST(Attend, WritingTheOutputLeavesTheRecordFresh) {
  Attended result = attend(counting({1, 1, 2, 4}), counting({1, 1, 3, 4}), counting({1, 1, 3, 4}));
  result.out.mutable_data<float>()[0] = 7;
  EXPECT_NO_THROW(result.record.check_fresh());
}

TEST(Attend, RefusesTensorsThatDoNotFitEachOtherByName) {
  const Tensor q = counting({1, 2, 3, 4});
  EXPECT_EQ(error_of([&] {
              attend(q, counting({1, 1, 5, 8}), counting({1, 1, 5, 8}));
            }),
            "kShape: attend: d_k of k is 8, but of q it is 4; they must be equal");
  EXPECT_EQ(error_of([&] {
              attend(q, counting({1, 1, 5, 4}), counting({1, 1, 6, 4}));
            }),
            "kShape: attend: key of v is 6, but of k it is 5; they must be equal");
  EXPECT_EQ(error_of([&] {
              attend(q, counting({5, 4}), counting({1, 1, 6, 4}));
            }),
            "kShape: attend: k: expected [batch, key_head, key, d_k], found [5, 4]");
  EXPECT_EQ(error_of([&] { attend(Tensor(), q, q); }),
            "kInvalidArgument: attend: q was given no tensor; expected [batch, head, query, d_k]");
}

TEST(Attend, WritesIntoAGivenStridedTensor) {
  const Tensor q = counting({2, 3, 4, 8}), k = counting({2, 1, 5, 8}), v = counting({2, 1, 5, 6});
  const Tensor memory = Tensor::zeros({2, 4, 3, 6});
  Tensor out = memory.permute({0, 2, 1, 3});
  attend_into(q, k, v, {}, out);
  const Tensor expected = attend(q, k, v).out;
  const Tensor found = out.contiguous();
  EXPECT_TRUE(std::equal(found.data<float>(), found.data<float>() + found.numel(), expected.data<float>()));
  Tensor narrow = Tensor::zeros({2, 3, 4, 5});
  EXPECT_EQ(error_of([&] { attend_into(q, k, v, {}, narrow); }), "kShape: attend: out: expected f32 [2, 3, 4, 6], found f32 [2, 3, 4, 5]");
}

TEST(KVCache, ChunkedAppendsEqualAttentionOverPlainTensors) {
  const Tensor k = counting({2, 2, 700, 5}), v = counting({2, 2, 700, 3}, 0.11f), q = counting({2, 4, 9, 5});
  KVCache cache;
  int64_t at = 0;
  for (const int64_t piece : {0, 1, 254, 1, 1, 300, 143}) {
    cache.append(k.slice(2, at, at + piece), v.slice(2, at, at + piece));
    at += piece;
  }
  EXPECT_EQ(cache.length(), 700);
  EXPECT_EQ(cache.snapshot().pages[1].size(), 3u);
  const Attended paged = attend(q, cache.snapshot(), {.topology = causal()}), whole = attend(q, k, v, {.topology = causal()});
  for (int64_t i = 0; i < whole.out.numel(); ++i)
    ASSERT_NEAR(paged.out.data<float>()[i], whole.out.data<float>()[i], tolerance::kForwardF32) << i;
}

TEST(KVCache, RecordsOfEarlierStepsStayValidWhileTheCacheGrows) {
  const Tensor k = counting({1, 1, 600, 4}), v = counting({1, 1, 600, 4});
  KVCache cache;
  cache.append(k.slice(2, 0, 250), v.slice(2, 0, 250));
  const AttentionRecord record = attend(counting({1, 1, 2, 4}), cache.snapshot(), {.topology = causal()}).record;
  const std::vector<float> before = all_weights(record);
  cache.append(k.slice(2, 250, 600), v.slice(2, 250, 600));
  EXPECT_EQ(key_length(record.keys), 250);
  EXPECT_EQ(all_weights(record), before);
  EXPECT_EQ(cache.snapshot().pages[0][0], std::get<PagedKV>(record.keys).pages[0][0]) << "the page must be shared, not copied";
}

TEST(KVCache, CopiesShareFullPagesAndDiverge) {
  const Tensor k = counting({1, 1, 300, 4}), other = counting({1, 1, 300, 4}, 0.9f);
  KVCache beam;
  beam.append(k, k);
  KVCache copy = beam;
  const AttentionRecord record = attend(counting({1, 1, 1, 4}), beam.snapshot(), {}).record;
  beam.append(k.slice(2, 0, 5), k.slice(2, 0, 5));
  copy.append(other.slice(2, 0, 5), other.slice(2, 0, 5));
  EXPECT_EQ(beam.snapshot().pages[0][0], copy.snapshot().pages[0][0]);
  const Tensor q = counting({1, 1, 1, 4});
  KVCache fresh;
  fresh.append(k, k);
  fresh.append(k.slice(2, 0, 5), k.slice(2, 0, 5));
  EXPECT_EQ(all_weights(attend(q, beam.snapshot(), {}).record), all_weights(attend(q, fresh.snapshot(), {}).record));
  EXPECT_NE(all_weights(attend(q, beam.snapshot(), {}).record), all_weights(attend(q, copy.snapshot(), {}).record));
}

// Sequences with different keys that are permuted, duplicated and dropped, with and without a record that still refers to the earlier ones.
TEST(KVCache, SelectedSequencesContinueIndependently) {
  const Tensor k = counting({3, 2, 300, 4}), more = counting({4, 2, 30, 4}, 0.9f), q = counting({4, 2, 1, 4});
  const std::vector<int64_t> rows = {1, 1, 0, 1};
  KVCache expected;
  std::vector<float> parents;
  for (const int64_t row : rows) {
    const Tensor of_row = k.select(0, row).contiguous();
    parents.insert(parents.end(), of_row.data<float>(), of_row.data<float>() + of_row.numel());
  }
  const Tensor selected = Tensor::from(parents, {4, 2, 300, 4});
  expected.append(selected, selected);
  expected.append(more, more);
  for (const bool looked_at : {false, true}) {
    KVCache cache;
    cache.append(k, k);
    std::optional<AttentionRecord> record;
    if (looked_at) record = attend(counting({3, 2, 1, 4}), cache.snapshot(), {}).record;
    const std::vector<float> before = record ? all_weights(*record) : std::vector<float>();
    cache.select(rows);
    cache.append(more, more);
    EXPECT_EQ(cache.length(), 330);
    EXPECT_EQ(cache.snapshot().pages[0][0], cache.snapshot().pages[1][0]) << "full pages must be shared";
    const Attended found = attend(q, cache.snapshot(), {}), wanted = attend(q, expected.snapshot(), {});
    EXPECT_EQ(all_weights(found.record), all_weights(wanted.record));
    EXPECT_TRUE(std::equal(found.out.data<float>(), found.out.data<float>() + found.out.numel(), wanted.out.data<float>()));
    if (record) {
      EXPECT_EQ(all_weights(*record), before);
    }
  }
  KVCache cache;
  cache.append(k, k);
  EXPECT_EQ(error_of([&] {
              cache.select({0, 3});
            }),
            "kInvalidArgument: cache: row 3 is out of range: the cache has 3 sequences, counted from 0");
}

TEST(KVCache, PagesOf16BitsRoundAppendsOfAnyDtypeToNearest) {
  const Tensor k = counting({1, 2, 300, 5}), v = counting({1, 2, 300, 3}, 0.11f), q = counting({1, 4, 2, 5});
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    KVCache from_f32(dtype), from_narrow(dtype), widened;
    const Tensor narrow_k = to_dtype(k, dtype), narrow_v = to_dtype(v, dtype);
    from_f32.append(k, v);
    from_narrow.append(narrow_k, narrow_v);
    widened.append(narrow_k, narrow_v);
    const KVPage& page = *from_f32.snapshot().pages[0][1];
    EXPECT_EQ(page.keys.dtype(), dtype);
    EXPECT_EQ(page.values.bytes(), 2u * KVPage::kLength * 3 * 2);
    const Attended expected = attend(q, to_f32(narrow_k), to_f32(narrow_v), {.topology = causal()});
    for (const KVCache* cache : {&from_f32, &from_narrow, &widened}) {
      const Attended found = attend(q, cache->snapshot(), {.topology = causal()});
      EXPECT_EQ(all_weights(found.record), all_weights(expected.record));
      EXPECT_EQ(key_dtype(found.record.keys), cache->dtype());
      EXPECT_EQ(found.record.stamp.dtype, DType::kF32) << "the dtype of the queries";
    }
  }
  EXPECT_EQ(error_of([] { KVCache whole(DType::kI32); }), "kUnsupported: cache: pages of i32; expected f32, bf16 or f16");
}

// With u the relative rounding error of a dtype and S the largest scale·Σ|q||k| of a row, scores change by δ ≤ u·S and weights by a factor
// within e^±2δ, so |Δout| ≤ (e^2δ·u + e^2δ − 1)·Σ P|v|, plus the error of f32.
TEST(KVCache, TheErrorOf16BitPagesIsWithinWhatTheirRoundingAllows) {
  const int64_t keys = 400, width = 16;
  const Tensor q = counting({1, 1, 8, width}, 1.7f), k = counting({1, 1, keys, width}, 0.93f), v = counting({1, 1, keys, width}, 0.71f);
  const Attended exact = attend(q, k, v, {});
  const std::vector<float> weights = all_weights(exact.record);
  for (const auto& [dtype, u] : {std::pair{DType::kBF16, 0x1p-8}, std::pair{DType::kF16, 0x1p-11}}) {
    KVCache cache(dtype);
    cache.append(k, v);
    const Tensor out = attend(q, cache.snapshot(), {}).out;
    double furthest = 0;
    for (int64_t i = 0; i < 8; ++i) {
      double largest = 0;
      for (int64_t j = 0; j < keys; ++j) {
        double size = 0;
        for (int64_t c = 0; c < width; ++c) {
          size += std::abs(static_cast<double>(q.data<float>()[i * width + c]) * static_cast<double>(k.data<float>()[j * width + c])) / 4;
        }
        largest = std::max(largest, size);
      }
      const double growth = std::exp(2 * u * largest);
      for (int64_t c = 0; c < width; ++c) {
        double absolute = 0;
        for (int64_t j = 0; j < keys; ++j)
          absolute += static_cast<double>(weights[static_cast<size_t>(i * keys + j)] * std::abs(v.data<float>()[j * width + c]));
        const double off =
            std::abs(static_cast<double>(out.data<float>()[i * width + c]) - static_cast<double>(exact.out.data<float>()[i * width + c]));
        ASSERT_LE(off, (growth * u + growth - 1 + tolerance::kUnrounded) * absolute) << to_string(dtype);
        furthest = std::max(furthest, off / absolute);
      }
    }
    EXPECT_GT(furthest, u / 64) << "pages must be rounded";
  }
}

// A block may be longer than the text; its cost depends only on the pairs that exist.
TEST(Attend, BlocksLargerThanTheTextEqualDenseAttention) {
  const Tensor k = waves({1, 2, 90, 8}, 0.7F), v = waves({1, 2, 90, 8}, 0.2F);
  const Tensor offsets = Tensor::from(std::vector<int32_t>{0, 1}, {1, 1, 2}), keys = Tensor::from(std::vector<int32_t>{0}, {1, 1, 1});
  for (const int64_t queries : {4, 70}) {  // key by key, and by tiles
    const Tensor q = waves({1, 2, queries, 8}, 0.3F), d_out = waves({1, 2, queries, 8}, 0.9F);
    on_every_backend([&] {
      const Attended plain = attend(q, k, v);
      const AttendGradients expected = attend_gradients(plain.record, v, plain.out, d_out);
      for (const int64_t block : {int64_t{128}, int64_t{1} << 30, int64_t{1} << 62}) {
        AttentionSpec spec;
        spec.topology.block_sparse = BlockSparse{.query_block = block, .key_block = block, .offsets = offsets, .keys = keys};
        const Attended done = attend(q, k, v, spec);
        const AttendGradients found = attend_gradients(done.record, v, done.out, d_out);
        EXPECT_LE(largest_difference(done.out.data<float>(), plain.out.data<float>(), done.out.numel()), tolerance::kGradientF32);
        EXPECT_LE(largest_difference(found.q.data<float>(), expected.q.data<float>(), found.q.numel()), tolerance::kGradientF32);
        EXPECT_LE(largest_difference(found.k.data<float>(), expected.k.data<float>(), found.k.numel()), tolerance::kGradientF32);
        EXPECT_LE(largest_difference(found.v.data<float>(), expected.v.data<float>(), found.v.numel()), tolerance::kGradientF32);
      }
    });
  }
}

int64_t pages_held(const PagedKV& keys) {
  int64_t count = 0;
  for (const auto& page : keys.pages[0]) count += page != nullptr;
  return count;
}

TEST(KVCache, KeepLastReleasesOldPagesAndKeepsResultsCorrect) {
  const Tensor k = counting({1, 2, 2000, 8}), v = counting({1, 2, 2000, 8}, 0.11f), q = counting({1, 4, 2000, 8}, 0.53f);
  const AttentionSpec spec{.topology = causal(/*back=*/99)};
  const Attended whole = attend(q, k, v, spec);
  KVCache cache;
  std::weak_ptr<const KVPage> first_page;
  std::vector<std::pair<AttentionRecord, std::vector<float>>> earlier;
  for (int64_t step = 0; step < 2000; ++step) {
    cache.keep_last(99);
    cache.append(k.slice(2, step, step + 1), v.slice(2, step, step + 1));
    ASSERT_LE(pages_held(cache.snapshot()), 2) << step;
    if (step == 0) first_page = cache.snapshot().pages[0][0];
    if (step % 130 != 0) continue;
    const Attended one = attend(q.slice(2, step, step + 1), cache.snapshot(), spec);
    for (int64_t c = 0; c < 8; ++c)
      ASSERT_NEAR(one.out.data<float>()[c], whole.out.data<float>()[step * 8 + c], tolerance::kForwardF32) << step;
    EXPECT_EQ(one.record.position_of(0), step);
    earlier.emplace_back(one.record, all_weights(one.record));
  }
  for (const auto& [record, before] : earlier) EXPECT_EQ(all_weights(record), before) << "a record made before keys were dropped";
  EXPECT_FALSE(first_page.expired()) << "an earlier record still holds the page";
  earlier.clear();
  EXPECT_TRUE(first_page.expired());
  EXPECT_EQ(
      error_of([&] { attend(q.slice(2, 0, 1), cache.snapshot(), {.topology = causal()}); }),
      "kInvalidArgument: attend: the cache has released the keys before 1792, but the description shows key 0 to query 0. Use a band whose "
      "`back` is at most what keep_last() kept, or a cache that keeps all keys.");
}

TEST(KVCache, ReleasingPagesOfACopyLeavesTheOriginalUnchanged) {
  const Tensor k = counting({1, 1, 600, 4}), q = counting({1, 1, 1, 4});
  KVCache prefix;
  prefix.append(k, k);
  KVCache beam = prefix;
  const std::vector<float> before = all_weights(attend(q, prefix.snapshot(), {}).record);
  beam.keep_last(10);
  EXPECT_EQ(beam.snapshot().first, 512);
  EXPECT_EQ(all_weights(attend(q, prefix.snapshot(), {}).record), before);
  beam.append(k.slice(2, 0, 300), k.slice(2, 0, 300));
  KVCache third = beam;
  third.keep_last(0);
  EXPECT_EQ(pages_held(beam.snapshot()), 2);
  EXPECT_EQ(pages_held(third.snapshot()), 1) << "the last page is not full";
}

TEST(KVCache, CrossAttentionStepsReadTheCacheWithoutCopyingOrWriting) {
  const Tensor k = counting({1, 2, 300, 8}), v = counting({1, 2, 300, 8}, 0.11f);
  KVCache memory;
  memory.append(k, v);
  const KVPage* page = memory.snapshot().pages[0][1].get();
  const uint64_t keys_written = page->keys.version(), values_written = page->values.version();
  for (int64_t step = 0; step < 3; ++step) {
    const Tensor q = counting({1, 4, 1, 8}, 0.3f + 0.1f * static_cast<float>(step));
    const Attended over_pages = attend(q, memory.snapshot(), {}), over_tensors = attend(q, k, v);
    EXPECT_EQ(all_weights(over_pages.record), all_weights(over_tensors.record));
    EXPECT_EQ(std::get<PagedKV>(over_pages.record.keys).pages[0][1].get(), page);
    EXPECT_TRUE(std::get<Tensor>(over_tensors.record.keys).shares_storage_with(k));
  }
  EXPECT_EQ(page->keys.version(), keys_written) << "no step may write to it";
  EXPECT_EQ(page->values.version(), values_written);
}

TEST(KVCache, RefusesKeysOfAnotherShape) {
  KVCache cache;
  cache.append(counting({1, 2, 3, 4}), counting({1, 2, 3, 6}));
  EXPECT_EQ(error_of([&] {
              cache.append(counting({1, 2, 3, 5}), counting({1, 2, 3, 6}));
            }),
            "kShape: cache: holds [1, 2, 3, d_k 4, d_v 6]; k is [1, 2, 3, 5], v is [1, 2, 3, 6]");
  EXPECT_EQ(error_of([&] {
              cache.append(counting({1, 2, 3, 4}), counting({1, 2, 2, 6}));
            }),
            "kShape: cache: k is [1, 2, 3, 4], v is [1, 2, 2, 6]; batch, key heads and new keys must be equal");
  EXPECT_EQ(cache.length(), 3);
}

}  // namespace
}  // namespace clearhead
