// Norms of values and of their output projections, the scratch arena, and shape errors of ops.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "clearhead/error.h"
#include "ops/ops.h"
#include "ops/run.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

std::vector<float> random_values(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

TEST(KeyNorms, AreTheNormsOfValuesAndOfTheirProjections) {
  // Two key heads, four query heads, values with three channels, an output with five.
  const int64_t key_heads = 2, heads = 4, keys = 6, d = 3, width = 5;
  const Tensor v = Tensor::from(random_values(keys * key_heads * d, 1), {1, keys, key_heads, d}).permute({0, 2, 1, 3});
  const std::vector<float> w = random_values(heads * d * width, 2);  // [head, d, width]
  const KeyNorms norms = ops::key_norms(v, Tensor::from(w, {heads, d, width}));
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t key = 0; key < keys; ++key) {
      const Tensor value = v.select(0, 0).select(0, head / 2).select(0, key);
      double value_square = 0, output_square = 0;
      for (int64_t o = 0; o < width; ++o) {
        double sum = 0;
        for (int64_t c = 0; c < d; ++c) sum += double(value.data<float>()[c]) * double(w[static_cast<size_t>((head * d + c) * width + o)]);
        output_square += sum * sum;
      }
      for (int64_t c = 0; c < d; ++c) value_square += double(value.data<float>()[c]) * double(value.data<float>()[c]);
      EXPECT_NEAR(norms.output.data<float>()[head * keys + key], std::sqrt(output_square), tolerance::kSum);
      EXPECT_NEAR(norms.value.data<float>()[head / 2 * keys + key], std::sqrt(value_square), tolerance::kFew);
    }
  }
}

TEST(KeyNorms, AFactoredProjectionGivesTheNormsOfTheProjection) {
  // An output with two channels: of each head's four channels, two depend linearly on the others.
  const int64_t heads = 3, d = 4, width = 2, keys = 5;
  const Tensor weight = Tensor::from(random_values(width * heads * d, 3), {width, heads * d});
  const Tensor v = Tensor::from(random_values(heads * keys * d, 4), {1, heads, keys, d});
  Arena arena;
  clearhead::Run run{.arena = arena};
  const KeyNorms norms = ops::key_norms(v, ops::output_factor(run, LiveWeight(weight), heads, d));
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t key = 0; key < keys; ++key) {
      double square = 0;
      for (int64_t o = 0; o < width; ++o) {
        double sum = 0;
        for (int64_t c = 0; c < d; ++c) {
          sum += double(v.data<float>()[(head * keys + key) * d + c]) * double(weight.data<float>()[o * heads * d + head * d + c]);
        }
        square += sum * sum;
      }
      EXPECT_NEAR(norms.output.data<float>()[head * keys + key], std::sqrt(square), tolerance::kSum);
    }
  }
}

TEST(KeyNorms, WithoutAnOutputProjectionOnlyValuesHaveNorms) {
  const KeyNorms norms = ops::key_norms(Tensor::zeros({1, 2, 3, 4}), Tensor());
  EXPECT_EQ(norms.value.shape(), (Shape{1, 2, 3}));
  EXPECT_FALSE(norms.output.defined());
}

TEST(Arena, ScopesGiveTheirScratchBack) {
  Arena arena;
  const void* first = nullptr;
  {
    const Arena::Scope scope(arena);
    first = arena.take({3, 5}).raw();
    EXPECT_NE(arena.take({1}).raw(), first);
  }
  const Arena::Scope scope(arena);
  EXPECT_EQ(arena.take({7}).raw(), first);
}

TEST(Arena, LargeTensorsGetBlocksOfTheirOwnAndAreTrimmed) {
  Arena arena;
  {
    const Arena::Scope scope(arena);
    const Tensor small = arena.take({10}), large = arena.take({1 << 20});
    EXPECT_FALSE(small.shares_storage_with(large));
  }
  EXPECT_GE(arena.bytes(), 5 << 20);
  arena.trim(1 << 20);
  EXPECT_EQ(arena.bytes(), 0);
}

TEST(Ops, RefuseShapesThatDoNotFit) {
  Arena arena;
  clearhead::Run run{arena};
  Tensor out = Tensor::zeros({2, 4});
  expect_refused(ErrorCode::kShape, "gated: x is [2, 7], out [2, 4]; expected contiguous", [&] {
    ops::gated(run, Activation::kSilu, Tensor::zeros({2, 7}), out);
  });
  expect_refused(ErrorCode::kShape, "norm: x is [2, 5], out [2, 4]", [&] {
    ops::norm(run, Tensor::zeros({2, 5}), {false, 1e-5, Tensor::zeros({5}), {}}, out);
  });
  Tensor x = Tensor::zeros({2, 1, 4});
  expect_refused(ErrorCode::kShape, "rotary: x is [2, 1, 4], the angles are [2, 3]", [&] {
    ops::rotary(run, x, {Tensor::zeros({2, 3}), Tensor::zeros({2, 3}), 6, false});
  });
}

}  // namespace
}  // namespace clearhead
