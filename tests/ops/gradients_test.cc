// attend_gradients as its callers meet it: what it gives, and what it refuses. The numbers are tests/conformance's.
#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "refused.h"

namespace clearhead {
namespace {

Tensor numbers(Shape shape, uint32_t seed) {
  Tensor tensor = Tensor::empty(std::move(shape));
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>((seed + static_cast<uint32_t>(i) * 2654435761U) % 1000) / 500 - 1;
  return tensor;
}

struct Made {
  Tensor q = numbers({2, 4, 9, 8}, 1), k = numbers({2, 2, 11, 8}, 2), v = numbers({2, 2, 11, 6}, 3), d_out = numbers({2, 4, 9, 6}, 4);
  AttentionSpec spec{.terms = {Alibi{numbers({4}, 5)}, Dense{numbers({1, 1, 9, 11}, 6)}}};
};

std::string refusal(const AttentionRecord& record, const Tensor& v, const Tensor& out, const Tensor& d_out) {
  return error_of([&] { (void)attend_gradients(record, v, out, d_out); });
}

TEST(AttendGradients, HaveTheShapesOfWhatTheyAreOf) {
  const Made made;
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  const AttendGradients all = attend_gradients(done.record, made.v, done.out, made.d_out);
  EXPECT_EQ(all.q.shape(), made.q.shape());
  EXPECT_EQ(all.k.shape(), made.k.shape());
  EXPECT_EQ(all.v.shape(), made.v.shape());
  ASSERT_EQ(all.operands.size(), 2U);
  EXPECT_EQ(all.operands[0].shape(), Shape({4}));
  EXPECT_EQ(all.operands[1].shape(), Shape({1, 1, 9, 11}));
  const AttendGradients few =
      attend_gradients(done.record, made.v, done.out, made.d_out, [](const std::string& name) { return name == "slopes"; });
  EXPECT_TRUE(few.operands[0].defined());
  EXPECT_FALSE(few.operands[1].defined());
}

TEST(AttendGradients, ComeInTheDtypeOfTheCallAndThoseOfOperandsInF32) {
  Made made;
  for (Tensor* tensor : {&made.q, &made.k, &made.v, &made.d_out}) *tensor = to_dtype(*tensor, DType::kF16);
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  const AttendGradients all = attend_gradients(done.record, made.v, done.out, made.d_out);
  for (const Tensor* gradient : {&all.q, &all.k, &all.v}) EXPECT_EQ(gradient->dtype(), DType::kF16);
  EXPECT_EQ(all.operands[0].dtype(), DType::kF32);
  EXPECT_EQ(refusal(done.record, made.v, done.out, to_f32(made.d_out)),
            "kShape: attend: d_out: expected f16 [2, 4, 9, 6], found f32 [2, 4, 9, 6]");
}

// Σ_i dO_i = Σ_j dV_j of one key head: every row's weights sum to one.
TEST(AttendGradients, OfTheValuesSumToThoseOfTheOutputs) {
  const Made made;
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  const AttendGradients found = attend_gradients(done.record, made.v, done.out, made.d_out);
  double given = 0, got = 0;
  for (int64_t i = 0; i < made.d_out.numel(); ++i) given += static_cast<double>(made.d_out.data<float>()[i]);
  for (int64_t i = 0; i < found.v.numel(); ++i) got += static_cast<double>(found.v.data<float>()[i]);
  EXPECT_NEAR(given, got, 1e-4);
  EXPECT_GT(std::abs(given), 1e-2);
}

// Two segments of one sequence, the second with the first as its memory: rows and gradients are those of the whole sequence, but nothing flows into the first.
TEST(AttendGradients, StopAtTheMemoryOfAnEarlierSegment) {
  constexpr int64_t kMemory = 5, kAll = 11;
  const Tensor q = numbers({1, 2, kAll, 8}, 1), k = numbers({1, 2, kAll, 8}, 2), v = numbers({1, 2, kAll, 6}, 3);
  const Tensor segment = q.slice(2, kMemory, kAll), d_out = numbers({1, 2, kAll - kMemory, 6}, 4);
  const Attended whole = attend(q, k, v, {.topology = causal()}), done = attend(segment, k, v, {.topology = causal()});
  const AttendGradients all = attend_gradients(done.record, v, done.out, d_out);
  const AttendGradients found = attend_gradients(done.record, v, done.out, d_out, nullptr, kMemory);
  ASSERT_EQ(found.k.shape(), (Shape{1, 2, kAll - kMemory, 8}));
  ASSERT_EQ(found.v.shape(), (Shape{1, 2, kAll - kMemory, 6}));
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < (kAll - kMemory) * 6; ++i) {
      EXPECT_NEAR(done.out.data<float>()[head * (kAll - kMemory) * 6 + i], whole.out.data<float>()[(head * kAll + kMemory) * 6 + i], 2e-6);
      EXPECT_EQ(found.v.data<float>()[head * (kAll - kMemory) * 6 + i], all.v.data<float>()[(head * kAll + kMemory) * 6 + i]);
    }
    for (int64_t i = 0; i < (kAll - kMemory) * 8; ++i) {
      EXPECT_EQ(found.k.data<float>()[head * (kAll - kMemory) * 8 + i], all.k.data<float>()[(head * kAll + kMemory) * 8 + i]);
      EXPECT_EQ(found.q.data<float>()[head * (kAll - kMemory) * 8 + i], all.q.data<float>()[head * (kAll - kMemory) * 8 + i]);
    }
  }
  EXPECT_THROW((void)attend_gradients(done.record, v, done.out, d_out, nullptr, kAll + 1), Error);
}

TEST(AttendGradients, RefuseWhatTheyCannotBeTakenOf) {
  const Made made;
  const Attended done = attend(made.q, made.k, made.v, made.spec);
  EXPECT_EQ(refusal(done.record, made.v, done.out, made.d_out), "no error");
  EXPECT_EQ(refusal(done.record, made.v, done.out, numbers({2, 4, 9, 7}, 4)),
            "kShape: attend: d_out: expected f32 [2, 4, 9, 6], found f32 [2, 4, 9, 7]");
  EXPECT_NE(refusal(done.record, made.v, Tensor(), made.d_out).find("kShape: attend: out: expected f32 [2, 4, 9, 6]"), std::string::npos);
  AttentionRecord part = done.record;
  part.q = part.q.slice(2, 3, 9);
  part.first_query = 3;
  EXPECT_EQ(refusal(part, made.v, done.out, made.d_out),
            "kUnsupported: attend_gradients: the record keeps 6 of 9 queries; expected all of them");
  KeyCache cache;
  cache.append(made.k, made.v);
  const Attended paged = attend(made.q, cache.snapshot(), AttentionSpec{});
  EXPECT_NE(refusal(paged.record, Tensor(), paged.out, made.d_out).find("kUnsupported: attend_gradients: the keys are pages"),
            std::string::npos);
  Tensor q = made.q.clone();
  const Attended stale = attend(q, made.k, made.v, made.spec);
  q.mutable_data<float>()[0] = 7;
  EXPECT_EQ(refusal(stale.record, made.v, stale.out, made.d_out).substr(0, 6), "kStale");
}

}  // namespace
}  // namespace clearhead
