// AttentionRecord: stale and pinned operands, positions, and row statistics.
#include "clearhead/record.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/error.h"
#include "refused.h"
#include "spec/base2.h"

namespace clearhead {
namespace {

AttentionRecord record_over(Tensor q, Tensor k, AttentionSpec spec = {}) {
  AttentionRecord record;
  record.query_length = q.size(2);
  record.stamp = stamp_now(spec, q, k, InstructionSet::kReference);
  record.rows = {.m = Tensor::zeros({q.size(0), q.size(1), q.size(2)}), .l = Tensor::zeros({q.size(0), q.size(1), q.size(2)})};
  record.spec = std::move(spec);
  record.q = std::move(q);
  record.keys = std::move(k);
  return record;
}

std::string stale_message(const AttentionRecord& record) {
  try {
    record.check_fresh();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStale);
    return error.what();
  }
  return "";
}

TEST(Record, WritingAnyOperandMakesItStaleByName) {
  Tensor q = Tensor::zeros({1, 2, 3, 4}), k = Tensor::zeros({1, 1, 5, 4}), sinks = Tensor::zeros({2}), bias = Tensor::zeros({1, 1, 1, 5});
  const std::vector<std::pair<std::string, Tensor*>> operands = {{"q", &q}, {"k", &k}, {"sinks", &sinks}, {"bias", &bias}};
  for (const auto& [name, operand] : operands) {
    AttentionSpec spec{.terms = {AttentionBias{bias}}, .normaliser = Softmax{sinks}};
    const AttentionRecord record = record_over(q, k, spec);
    EXPECT_EQ(stale_message(record), "");
    operand->mutable_data<float>()[0] = 1;
    EXPECT_NE(stale_message(record).find("operand \"" + name + "\" was opened for writing"), std::string::npos) << name;
  }
}

TEST(Record, AStampOverOtherOperandsIsStale) {
  AttentionRecord record = record_over(Tensor::zeros({1, 1, 1, 1}), Tensor::zeros({1, 1, 1, 1}));
  record.spec.terms = {Alibi{Tensor::zeros({1})}};
  EXPECT_NE(stale_message(record), "");
  record.spec.terms.clear();
  record.stamp.versions.push_back(0);
  EXPECT_NE(stale_message(record), "");
}

TEST(Record, APinnedRecordIsUnaffectedByWritesToItsOperands) {
  Tensor q = Tensor::from<float>({1, 2}, {1, 1, 1, 2}), k = Tensor::from<float>({3, 4}, {1, 1, 1, 2}),
         sinks = Tensor::from<float>({5}, {1});
  const AttentionRecord pinned = record_over(q, k, {.normaliser = Softmax{sinks}}).pin();
  q.mutable_data<float>()[0] = 9;
  k.mutable_data<float>()[0] = 9;
  sinks.mutable_data<float>()[0] = 9;
  EXPECT_EQ(stale_message(pinned), "");
  EXPECT_EQ(pinned.q.data<float>()[0], 1);
  EXPECT_EQ(std::get<Tensor>(pinned.keys).data<float>()[0], 3);
  EXPECT_EQ(std::get<Softmax>(pinned.spec.normaliser).sinks->data<float>()[0], 5);
  EXPECT_TRUE(pinned.pin().q.shares_storage_with(pinned.q)) << "a pinned operand is not copied again";
}

TEST(Record, AStaleRecordCannotBePinned) {
  Tensor q = Tensor::zeros({1, 1, 1, 2});
  const AttentionRecord record = record_over(q, Tensor::zeros({1, 1, 1, 2}));
  q.mutable_data<float>();
  expect_refused(ErrorCode::kStale, "operand \"q\" was opened for writing", [&] { record.pin(); });
}

TEST(Record, BorrowedMemoryIsUnpinnedUntilItIsCopiedOrPromisedImmutable) {
  const float memory[2] = {1, 2};
  const Tensor owned = Tensor::zeros({1, 1, 1, 2});
  EXPECT_FALSE(record_over(owned, owned).unpinned());
  const AttentionRecord record = record_over(owned, Tensor::borrow(memory, {1, 1, 1, 2}, DType::kF32));
  EXPECT_TRUE(record.unpinned());
  EXPECT_FALSE(record.pin().unpinned());
  EXPECT_FALSE(record_over(owned, Tensor::borrow(memory, {1, 1, 1, 2}, DType::kF32, nullptr, true)).unpinned());
}

TEST(Record, PositionsFollowTheAlignment) {
  AttentionRecord record = record_over(Tensor::zeros({1, 1, 2, 4}), Tensor::zeros({1, 1, 10, 4}));
  record.query_length = 3;
  record.first_query = 1;
  EXPECT_EQ(record.position_of(2), 9);
  record.spec.topology.band.align = Align::kStart;
  EXPECT_EQ(record.position_of(2), 2);
}

TEST(Record, ShapeDescribesTheCallNotTheKeptRows) {
  AttentionRecord record = record_over(Tensor::zeros({2, 4, 2, 8}), Tensor::zeros({2, 2, 10, 8}));
  record.query_length = 6;
  const AttentionShape shape = record.shape();
  EXPECT_EQ(shape.batch, 2);
  EXPECT_EQ(shape.heads, 4);
  EXPECT_EQ(shape.key_heads, 2);
  EXPECT_EQ(shape.queries, 6);
  EXPECT_EQ(shape.keys, 10);
  EXPECT_EQ(shape.d_k, 8);
  EXPECT_EQ(record.rows_kept(), 2);
  record.keys = PagedKV{.pages = {}, .length = 300, .key_heads = 2, .d_k = 8, .d_v = 5};
  EXPECT_EQ(record.shape().keys, 300);
  EXPECT_EQ(record.shape().d_v, 5);
}

TEST(Record, LogSumExpIsInNaturalUnits) {
  const RowStats rows{.m = Tensor::from<float>({2, -INFINITY, 1e5f}, {1, 1, 3}), .l = Tensor::from<float>({4, 0, 1}, {1, 1, 3})};
  const Tensor result = log_sum_exp(rows);
  EXPECT_FLOAT_EQ(result.data<float>()[0], std::log(16.0f));
  EXPECT_EQ(result.data<float>()[1], -INFINITY);
  EXPECT_FLOAT_EQ(result.data<float>()[2], 69314.718f);
}

TEST(Record, ThresholdsAddTheOffsetToTheLargestScore) {
  const RowStats rows{.m = Tensor::from<float>({2, -INFINITY, 2e8f}, {1, 1, 3}), .l = Tensor::from<float>({-0.5f, 0, -1}, {1, 1, 3})};
  const Tensor sparsemax = thresholds(rows, Sparsemax{}), entmax = thresholds(rows, Entmax15{});
  EXPECT_FLOAT_EQ(sparsemax.data<float>()[0], 2 * std::log(2.0f) - 0.5f);
  EXPECT_FLOAT_EQ(entmax.data<float>()[0], std::log(2.0f) - 0.5f);
  EXPECT_EQ(sparsemax.data<float>()[1], -INFINITY);
  EXPECT_FLOAT_EQ(sparsemax.data<float>()[2], 138629436.0f);
}

TEST(Record, LargeScoresInBase2AreRoundedToF32) {
  EXPECT_DOUBLE_EQ(in_base_2(1), 1.44269504088896340736);
  const double large = in_base_2(1e9 + 1);
  EXPECT_EQ(large, static_cast<double>(static_cast<float>(large)));
  EXPECT_EQ(large, in_base_2(1e9));
  EXPECT_EQ(in_base_2(3e38), INFINITY);
  EXPECT_TRUE(std::isnan(in_base_2(NAN)));
}

}  // namespace
}  // namespace clearhead
