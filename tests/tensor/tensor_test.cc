#include "clearhead/tensor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/error.h"

namespace clearhead {
namespace {

TEST(Tensor, AViewSeesItsParentsElementsThroughStrides) {
  const Tensor t = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor column = t.select(1, 1);
  EXPECT_EQ(column.shape(), Shape{2});
  EXPECT_EQ(column.data<float>()[column.stride(0)], 4.0f);
  EXPECT_EQ(t.permute({1, 0}).contiguous().data<float>()[1], 3.0f);
}

TEST(Tensor, EveryMutableAccessCountsOnceForAllViews) {
  Tensor t = Tensor::zeros({4});
  const Tensor view = t.slice(0, 1, 3);
  const uint64_t before = view.version();
  t.mutable_data<float>()[0] = 1;
  EXPECT_EQ(view.version(), before + 1);
}

TEST(Tensor, ImmutableBorrowedMemoryCannotBeOpenedForWriting) {
  const float values[2] = {1, 2};
  Tensor t = Tensor::borrow(values, {2}, DType::kF32, nullptr, true);
  EXPECT_THROW(t.mutable_data<float>(), Error);
  EXPECT_FALSE(t.is_borrowed());
}

TEST(Tensor, RefusesShapesThatOverflow) { EXPECT_THROW(Tensor::empty({1ll << 40, 1ll << 40}), Error); }

TEST(Tensor, AnEmptyAxisDoesNotExcuseOthersThatOverflow) {
  EXPECT_THROW(Tensor::empty({0, 1ll << 40, 1ll << 40}), Error);
  EXPECT_EQ(Tensor::empty({0, 1ll << 20}).numel(), 0);
}

TEST(Convert, HalfPrecisionSubnormalsInfinitiesAndSignsAreExact) {
  EXPECT_EQ(f16_to_f32(0x3C00), 1.0f);
  EXPECT_EQ(f16_to_f32(0x8001), -0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x03FF), 1023 * 0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0f);
  EXPECT_TRUE(std::isinf(f16_to_f32(0xFC00)));
  EXPECT_EQ(bf16_to_f32(0xBF80), -1.0f);
}

}  // namespace
}  // namespace clearhead
