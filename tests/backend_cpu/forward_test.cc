// The fused forward against the definition in double, for every instruction set that this machine supports.
#include <gtest/gtest.h>
#include <algorithm>

#include "base/parallel.h"
#include "expect.h"

namespace clearhead::test {
namespace {

TEST_F(CpuForward, EqualsTheDefinitionAtEveryAwkwardSize) {
  uint32_t seed = 1;
  for (const int64_t queries : {1, 2, 8, 9, 16, 17, 33, 48, 49, 64, 65, 97, 257}) {
    for (const int64_t keys : {1, 2, 7, 8, 9, 16, 17, 63, 255, 256, 257, 300, 521}) {
      const int64_t d_k = 1 + (seed * 7) % 40, d_v = 1 + (seed * 11) % 40;
      Case c = make_case({.batch = 1, .heads = 2, .key_heads = 1, .queries = queries, .keys = keys, .d_k = d_k, .d_v = d_v}, seed++);
      expect_right(c, 7);
      c.spec.topology = causal();
      expect_right(c, 7);
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "queries " << queries << " keys " << keys << " d_k " << d_k << " d_v " << d_v << " seed " << seed - 1;
        return;
      }
    }
  }
}

Tensor random_segments(int64_t batch, int64_t length, int count, bool sorted, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(static_cast<size_t>(batch * length));
  for (int64_t b = 0; b < batch; ++b) {
    const auto begin = ids.begin() + b * length;
    for (int64_t i = 0; i < length; ++i) begin[i] = static_cast<int32_t>(random() % static_cast<uint32_t>(count)) - 1;
    if (sorted) std::sort(begin, begin + length);
  }
  return Tensor::from(ids, {batch, length});
}

Tensor random_mask(Shape shape, double visible, uint32_t seed) {
  Tensor mask = Tensor::empty(std::move(shape), DType::kBool);
  std::mt19937 random(seed);
  bool* data = mask.mutable_data<bool>();
  for (int64_t i = 0; i < mask.numel(); ++i) data[i] = static_cast<double>(random()) < visible * 4294967296.0;
  return mask;
}

// Draws each part of a description from the seed, so that parts occur in many combinations.
void describe(Case& c, uint32_t seed) {
  std::mt19937 generator(seed);
  const auto random = [&] { return static_cast<uint32_t>(generator()); };
  const auto chance = [&](uint32_t of) { return random() % of == 0; };
  const AttentionShape& s = c.shape;
  const auto broadcast = [&](int64_t size) { return chance(2) ? 1 : size; };
  if (chance(3)) c.spec.score = Dot{0.3F};
  Band& band = c.spec.topology.band;
  if (chance(3)) band.back = static_cast<int64_t>(random() % 40);
  if (chance(2)) band.ahead = chance(2) ? 0 : static_cast<int64_t>(random() % 30);
  if (chance(4)) band.align = Align::kStart;
  if (chance(4)) band.offset = static_cast<int64_t>(random() % 21) - 10;
  const int terms = static_cast<int>(random() % 4);
  for (int term = 0; term < terms; ++term) {
    if (chance(3)) {
      c.spec.terms.push_back(Alibi{random_tensor({s.heads}, random(), 0.2F)});
    } else if (chance(2)) {
      c.spec.terms.push_back(SoftCap{chance(2) ? 2.0F : 30.0F});
    } else {
      Tensor bias = random_tensor({broadcast(s.batch), broadcast(s.heads), broadcast(s.queries), s.keys}, random());
      float* data = bias.mutable_data<float>();
      if (chance(2)) {
        for (int64_t i = 0; i < bias.numel(); i += 5) data[i] = -std::numeric_limits<float>::infinity();
      }
      c.spec.terms.push_back(AttentionBias{bias});
    }
  }
  if (chance(3)) {
    const bool sorted = chance(2);
    c.spec.topology.segments = Segments{random_segments(broadcast(s.batch), s.queries, 4, sorted, random()),
                                        random_segments(broadcast(s.batch), s.keys, 4, sorted, random())};
  }
  if (chance(3)) {
    c.spec.topology.mask =
        Mask{random_mask({broadcast(s.batch), broadcast(s.heads), broadcast(s.queries), s.keys}, chance(2) ? 0.9 : 0.2, random())};
  }
  if (chance(3)) c.spec.normaliser = Softmax{random_tensor({s.heads}, random(), chance(3) ? 100.0F : 2.0F)};
}

TEST_F(CpuForward, EqualsTheDefinitionForRandomlyCombinedDescriptions) {
  for (uint32_t seed = 1; seed <= 160; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::vector<int64_t> from) { return from[random() % from.size()]; };
    AttentionShape shape;
    shape.batch = pick({1, 2}), shape.key_heads = pick({1, 2}), shape.heads = shape.key_heads * pick({1, 3});
    shape.queries = pick({1, 3, 8, 9, 31, 50, 100}), shape.keys = pick({1, 5, 64, 100, 257, 530});
    shape.d_k = pick({1, 4, 13, 16, 32}), shape.d_v = pick({1, 6, 16, 27});
    Case c = make_case(shape, seed * 100);
    describe(c, seed);
    expect_right(c, 12);
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "seed " << seed << ": " << to_json(c.spec) << " queries " << shape.queries << " keys " << shape.keys << " d_k "
                    << shape.d_k << " d_v " << shape.d_v;
      return;
    }
  }
}

TEST_F(CpuForward, ReadsAndWritesAnyStrides) {
  for (const int64_t queries : {3, 70}) {
    Case c = make_case({.batch = 2, .heads = 4, .key_heads = 2, .queries = queries, .keys = 300, .d_k = 24, .d_v = 20}, 5);
    for (const Backend* backend : tables()) {
      const Result plain = run(*backend, c);
      Case strided = c;
      const auto transposed = [](const Tensor& t, const std::vector<int>& order, const std::vector<int>& back) {
        return t.permute(order).clone().permute(back);
      };
      strided.q = transposed(c.q, {0, 2, 1, 3}, {0, 2, 1, 3});
      strided.k = transposed(c.k, {3, 0, 2, 1}, {1, 3, 2, 0});  // a large stride between channels
      strided.v = transposed(c.v, {0, 2, 1, 3}, {0, 2, 1, 3});
      Result result = empty_result(c.shape);
      result.out = Tensor::empty({2, queries, 4, 20}).permute({0, 2, 1, 3});
      const Keys keys = strided.k;
      backend->forward({strided.spec, strided.q, keys, strided.v, result.out, result.rows});
      expect_same_bits(plain.out, result.out, "other strides give other outputs");
      expect_same_bits(plain.rows.l, result.rows.l, "other strides give another l");
      strided.q = transposed(c.q, {3, 2, 1, 0}, {3, 2, 1, 0});
      strided.v = transposed(c.v, {3, 0, 2, 1}, {1, 3, 2, 0});
      result.out = Tensor::empty({20, queries, 4, 2}).permute({3, 2, 1, 0});
      backend->forward({strided.spec, strided.q, keys, strided.v, result.out, result.rows});
      expect_same_bits(plain.out, result.out, "reversed axes give other outputs");
    }
  }
}

TEST_F(CpuForward, GivesTheSameBitsForAnyThreadCountBatchAndNumberOfHeads) {
  const int before = threads();
  for (const int64_t queries : {1, 40, 200}) {
    Case c = make_case({.batch = 3, .heads = 6, .key_heads = 3, .queries = queries, .keys = 4200, .d_k = 16, .d_v = 16}, 11);
    c.spec.topology = causal();
    for (const Backend* backend : tables()) {
      set_threads(1);
      const Result one = run(*backend, c);
      for (const int count : {2, 3, 4}) {
        set_threads(count);
        const Result many = run(*backend, c);
        expect_same_bits(one.out, many.out, "outputs depend on threads");
        expect_same_bits(one.rows.m, many.rows.m, "m depends on threads");
        expect_same_bits(one.rows.l, many.rows.l, "l depends on threads");
      }
      set_threads(before);
      Case alone = c;
      alone.shape.batch = 1, alone.shape.heads = 2, alone.shape.key_heads = 1;
      alone.q = c.q.slice(0, 2, 3).slice(1, 2, 4), alone.k = c.k.slice(0, 2, 3).slice(1, 1, 2), alone.v = c.v.slice(0, 2, 3).slice(1, 1, 2);
      expect_same_bits(run(*backend, alone).out, one.out.slice(0, 2, 3).slice(1, 2, 4), "outputs depend on batch or heads");
    }
  }
}

TEST_F(CpuForward, ARowIsTheSameBitsInBlocksOfAnySize) {
  Case c = make_case({.batch = 1, .heads = 1, .key_heads = 1, .queries = 600, .keys = 600, .d_k = 32, .d_v = 32}, 21,
                     6);  // large scores, so that the running maximum changes
  c.spec.topology = causal();
  for (const Backend* backend : tables()) {
    const Result whole = run(*backend, c);
    for (const int64_t begin : {531, 552, 555, 580}) {
      Case part = c;
      part.shape.queries = 600 - begin;
      part.q = c.q.slice(2, begin, 600);
      const Result tail = run(*backend, part);
      expect_same_bits(whole.out.slice(2, begin, 600), tail.out, "a row depends on its block");
      expect_same_bits(whole.rows.l.slice(2, begin, 600), tail.rows.l, "l depends on its block");
    }
  }
}

TEST_F(CpuForward, HoldsAtLogitsOfTenThousandAndWhenTheMaximumComesLast) {
  for (const int64_t queries : {2, 60}) {
    Case c = make_case({.batch = 1, .heads = 2, .key_heads = 2, .queries = queries, .keys = 700, .d_k = 8, .d_v = 8}, 31);
    c.spec.score = Dot{1e4F};
    expect_right(c);
    c = make_case({.batch = 1, .heads = 2, .key_heads = 2, .queries = queries, .keys = 700, .d_k = 8, .d_v = 8}, 32);
    Tensor rising = Tensor::empty({1, 1, 1, 700});
    float* data = rising.mutable_data<float>();
    for (int64_t j = 0; j < 700; ++j) data[j] = static_cast<float>(j) * 0.37F - 1e4F;
    c.spec.terms = {AttentionBias{rising}};
    expect_right(c);
    for (int64_t j = 0; j < 700; ++j) data[j] = j % 97 == 0 ? 1e4F : -1e4F;
    expect_right(c);
  }
}

TEST_F(CpuForward, RowsThatSeeNothingAreZerosWithEmptyStatistics) {
  for (const int64_t queries : {4, 100}) {
    Case c = make_case({.batch = 1, .heads = 2, .key_heads = 2, .queries = queries, .keys = 50, .d_k = 8, .d_v = 8}, 41);
    c.spec.topology.band = {.back = 3, .ahead = 0, .align = Align::kStart};  // queries beyond key 53 see nothing
    c.spec.normaliser = Softmax{random_tensor({2}, 42)};
    expect_right(c, 100);
    c.spec.topology.mask = Mask{random_mask({1, 1, queries, 50}, 0.0, 43)};
    expect_right(c, 100);
    c.spec.topology = {};
    Tensor bias = Tensor::empty({1, 1, 1, 50});
    std::fill_n(bias.mutable_data<float>(), 50, -std::numeric_limits<float>::infinity());
    c.spec.terms = {AttentionBias{bias}};
    expect_right(c, 100);
  }
}

TEST_F(CpuForward, EmptySizesGiveZerosOrNothing) {
  for (const Backend* backend : tables()) {
    for (const AttentionShape& shape :
         {AttentionShape{.batch = 0, .heads = 2, .key_heads = 1, .queries = 3, .keys = 4, .d_k = 5, .d_v = 6},
          AttentionShape{.batch = 2, .heads = 2, .key_heads = 1, .queries = 0, .keys = 4, .d_k = 5, .d_v = 6},
          AttentionShape{.batch = 2, .heads = 2, .key_heads = 1, .queries = 3, .keys = 0, .d_k = 5, .d_v = 6},
          AttentionShape{.batch = 2, .heads = 2, .key_heads = 1, .queries = 60, .keys = 0, .d_k = 5, .d_v = 6},
          AttentionShape{.batch = 2, .heads = 2, .key_heads = 1, .queries = 60, .keys = 4, .d_k = 5, .d_v = 0},
          AttentionShape{.batch = 2, .heads = 2, .key_heads = 1, .queries = 3, .keys = 4, .d_k = 5, .d_v = 0},
          AttentionShape{.batch = 2, .heads = 0, .key_heads = 0, .queries = 3, .keys = 4, .d_k = 5, .d_v = 6}}) {
      const Case c = make_case(shape, 51);
      expect_close(c, run(*backend, c), 8, "tensors");
      if (shape.keys > 0 && shape.key_heads > 0) expect_close(c, run_paged(*backend, c), 8, "pages");
    }
  }
}

TEST_F(CpuForward, VisibleNaNAndInfinityMakeTheirRowsNaNAndHiddenOnesAreNeverRead) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const int64_t queries : {5, 130}) {
    for (const float poison : {nan, inf, -inf}) {
      for (const int where : {0, 1, 2}) {  // a query, a key, a value
        Case c = make_case({.batch = 1, .heads = 2, .key_heads = 1, .queries = queries, .keys = 300, .d_k = 8, .d_v = 12}, 61);
        c.spec.topology = causal(60);
        Tensor& victim = where == 0 ? c.q : where == 1 ? c.k : c.v;
        const int64_t row = where == 0 ? queries - 2 : 300 - queries + 2;
        victim.mutable_data<float>()[row * victim.stride(2) + 3] = poison;
        if (where == 1) victim.mutable_data<float>()[(row + 1) * victim.stride(2) + 1] = poison;
        expect_right(c, queries);
        if (testing::Test::HasFailure()) {
          ADD_FAILURE() << "queries " << queries << " poison " << poison << " where " << where;
          return;
        }
      }
    }
  }
}

TEST_F(CpuForward, MaskedNaNAndInfinityNeverReachTheOutput) {
  for (const int64_t queries : {3, 77}) {
    Case c = make_case({.batch = 1, .heads = 2, .key_heads = 1, .queries = queries, .keys = 290, .d_k = 8, .d_v = 9}, 71);
    Tensor mask = random_mask({1, 2, queries, 290}, 0.7, 72);
    bool* visible = mask.mutable_data<bool>();
    for (int64_t i = 0; i < 2 * queries; ++i) visible[i * 290 + 17] = visible[i * 290 + 280] = i % 3 == 0;
    c.spec.topology.mask = Mask{mask};
    for (int64_t d = 0; d < 8; ++d) c.k.mutable_data<float>()[17 * 8 + d] = std::numeric_limits<float>::quiet_NaN();
    for (int64_t d = 0; d < 9; ++d) c.v.mutable_data<float>()[280 * 9 + d] = std::numeric_limits<float>::infinity();
    expect_right(c, queries);
  }
}

TEST_F(CpuForward, SomeQueriesOverManyKeysAreSplitOverKeysAndStayRight) {
  Case c = make_case({.batch = 1, .heads = 4, .key_heads = 2, .queries = 20, .keys = 5000, .d_k = 16, .d_v = 12}, 81, 4);
  expect_right(c, 20);
  c.spec.topology = causal(3000);
  c.spec.normaliser = Softmax{random_tensor({4}, 82)};
  c.v.mutable_data<float>()[4990 * 12 + 3] = std::numeric_limits<float>::quiet_NaN();
  expect_right(c, 20);
  c.spec.topology = causal(1);  // whole chunks are hidden
  expect_right(c, 20);
}

TEST_F(CpuForward, AWindowThatBeginsInsideAPageDecodesOverPagesAsOverTensors) {
  for (const int64_t back : {392, 776, 1096}) {  // first keys 816, 432, 112: odd multiples of 16
    Case c = make_case({.batch = 1, .heads = 6, .key_heads = 1, .queries = 2, .keys = 1210, .d_k = 12, .d_v = 20}, 91);
    c.spec.topology = causal(back);
    expect_right(c, 2);
  }
}

}  // namespace
}  // namespace clearhead::test
