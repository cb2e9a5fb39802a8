// Tensor: views, copies, conversions, and reuse of memory.
#include "clearhead/tensor.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <vector>

#include "clearhead/error.h"
#include "refused.h"
#include "tensor/convert.h"
#include "tensor/pool.h"

namespace clearhead {
namespace {

TEST(Tensor, AViewSeesItsParentsElementsThroughStrides) {
  const Tensor t = Tensor::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor column = t.select(1, 1);
  EXPECT_EQ(column.shape(), Shape{2});
  EXPECT_EQ(column.data<float>()[column.stride(0)], 4.0f);
  EXPECT_EQ(t.permute({1, 0}).contiguous().data<float>()[1], 3.0f);
}

// Copies of several megabytes are split between threads.
TEST(Tensor, LargeCopiesEqualTheirSource) {
  const int64_t rows = 3, tokens = 30'011, heads = 4, width = 5;
  std::vector<float> values(static_cast<size_t>(rows * tokens * heads * width));
  for (size_t at = 0; at < values.size(); ++at) values[at] = static_cast<float>(at);
  const Tensor whole = Tensor::from(values, {rows, tokens, heads, width});
  EXPECT_TRUE(std::equal(values.begin(), values.end(), whole.clone().data<float>()));
  const Tensor turned = whole.permute({0, 2, 3, 1}).slice(3, 7, tokens - 4).clone();
  ASSERT_EQ(turned.shape(), (Shape{rows, heads, width, tokens - 11}));
  const float* found = turned.data<float>();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t c = 0; c < width; ++c) {
        for (int64_t token = 7; token < tokens - 4; ++token) {
          ASSERT_EQ(*found++, values[static_cast<size_t>(((row * tokens + token) * heads + head) * width + c)]);
        }
      }
    }
  }
}

TEST(Tensor, MutableAccessIncrementsTheVersionOfAllViews) {
  Tensor t = Tensor::zeros({4});
  const Tensor view = t.slice(0, 1, 3);
  const uint64_t before = view.version();
  t.mutable_data<float>()[0] = 1;
  EXPECT_EQ(view.version(), before + 1);
}

TEST(Tensor, ImmutableBorrowedMemoryCannotBeOpenedForWriting) {
  const float values[2] = {1, 2};
  Tensor t = Tensor::borrow(values, {2}, DType::kF32, nullptr, true);
  expect_refused(ErrorCode::kInvalidArgument, "borrowed as immutable memory", [&] { t.mutable_data<float>(); });
  EXPECT_FALSE(t.is_borrowed());
}

TEST(Tensor, RefusesShapesThatOverflow) {
  expect_refused(ErrorCode::kShape, "shape [1099511627776, 1099511627776] overflows memory", [&] {
    Tensor::empty({1ll << 40, 1ll << 40});
  });
}

TEST(Tensor, AnEmptyAxisDoesNotExcuseOthersThatOverflow) {
  expect_refused(ErrorCode::kShape, "shape [0, 1099511627776, 1099511627776] overflows memory", [&] {
    Tensor::empty({0, 1ll << 40, 1ll << 40});
  });
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

TEST(Convert, EveryF16AndBF16ValueRoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const uint16_t from_half = f32_to_f16(f16_to_f32(half)), from_brain = f32_to_bf16(bf16_to_f32(half));
    ASSERT_TRUE(std::isnan(f16_to_f32(half)) ? std::isnan(f16_to_f32(from_half)) : from_half == half) << bits;
    ASSERT_TRUE(std::isnan(bf16_to_f32(half)) ? std::isnan(bf16_to_f32(from_brain)) : from_brain == half) << bits;
  }
}

TEST(Convert, KeepsShapesAndReadsStridesOfBothSides) {
  const Tensor t = Tensor::from<float>({0, 1, 2, 3, 4, 5.00390625f}, {2, 3});
  const Tensor turned = to_dtype(t.permute({1, 0}), DType::kBF16);
  EXPECT_EQ(turned.shape(), (Shape{3, 2}));
  EXPECT_EQ(turned.dtype(), DType::kBF16);
  Tensor back = Tensor::zeros({2, 3});
  Tensor view = back.permute({1, 0});
  convert(turned, view);
  EXPECT_EQ(std::vector<float>(back.data<float>(), back.data<float>() + 6), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  expect_refused(ErrorCode::kUnsupported, "i32 cannot be converted", [&] { to_dtype(t, DType::kI32); });
}

#ifndef __SANITIZE_ADDRESS__  // AddressSanitizer does not reuse freed memory
constexpr int64_t kMebi = int64_t{1} << 20;

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

void write_tensor(int64_t bytes) {
  Tensor tensor = Tensor::empty({bytes / 4});
  std::fill_n(tensor.mutable_data<float>(), tensor.numel(), 1.0F);
}

// Larger than the allocations that the C library keeps.
TEST(Tensor, ReallocationOfTheSameSizeReusesPages) {
  const int64_t before = page_faults();
  write_tensor(40 * kMebi);
  const int64_t first = page_faults() - before;
  for (int i = 0; i < 8; ++i) write_tensor(40 * kMebi);
  EXPECT_LT(page_faults() - before - first, 2 * first);
}

TEST(Tensor, AtMost64MebibytesOfFreedTensorsStayResident) {
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    int64_t size = 0, pages = 0;
    statm >> size >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  };
  const int64_t before = resident();
  std::vector<Tensor> tensors;
  for (int i = 0; i < 6; ++i) {
    tensors.push_back(Tensor::empty({10 * kMebi}));
    std::fill_n(tensors.back().mutable_data<float>(), tensors.back().numel(), 1.0F);
  }
  EXPECT_GT(resident() - before, 170 * kMebi);  // of 240; some pages were resident before
  tensors.clear();
  EXPECT_LT(resident() - before, 80 * kMebi);
}
#endif

TEST(TensorPool, FreedMemoryServesRequestsOfAtLeastHalfItsSize) {
  const TensorPool pool;
  const void* first = pool.take({1000}).raw();
  EXPECT_EQ(pool.take({1000}).raw(), first);
  EXPECT_EQ(pool.take({501}).raw(), first);
  const Tensor small = pool.take({200});
  EXPECT_NE(small.raw(), first);
  EXPECT_EQ(pool.take({900}).raw(), first);
}

TEST(TensorPool, RecordsThePeakOfAllocatedBytes) {
  const TensorPool pool;
  {
    const Tensor a = pool.take({100}), b = pool.take({50});
    EXPECT_EQ(pool.most_bytes(), 600U);
  }
  const Tensor c = pool.take({100});
  EXPECT_EQ(pool.most_bytes(), 600U);
}

TEST(TensorPool, AShadowIsTheViewWithoutItsMemory) {
  const TensorPool pool;
  Tensor shadow;
  const std::byte* memory = nullptr;
  uint64_t number = 0;
  {
    const Tensor whole = pool.take({6, 4}), view = whole.slice(0, 2, 5).permute({1, 0});
    memory = whole.raw();
    number = whole.storage_number();
    shadow = TensorPool::shadow(view);
    EXPECT_EQ(view.beside(Tensor::zeros({24})).strides(), shadow.beside(Tensor::zeros({24})).strides());
  }
  EXPECT_EQ(shadow.storage_number(), number);
  EXPECT_EQ(shadow.storage_elements(), 24);
  EXPECT_EQ(shadow.shape(), (Shape{4, 3}));
  EXPECT_EQ(pool.take({6, 4}).raw(), memory) << "the shadow kept the memory alive";
  EXPECT_FALSE(TensorPool::shadow({}).defined());
}

// A pool for growing sizes keeps one block, not one for each size.
TEST(TensorPool, GrowingSizesKeepOnlyOneBlock) {
  const size_t before = mallinfo2().uordblks;
  const TensorPool pool;
  for (int64_t size = 1000; size < 20000; size += 250) pool.take({size});
  EXPECT_LT(mallinfo2().uordblks - before, size_t{3} * 20000 * sizeof(float));
}

}  // namespace
}  // namespace clearhead
