// Batches of texts of like length: each text once, little padding, within the budget.
#include "models/batches.h"

#include <gtest/gtest.h>

#include <random>

namespace clearhead {
namespace {

std::vector<Encoding> texts_of(const std::vector<size_t>& lengths) {
  std::vector<Encoding> texts;
  for (const size_t length : lengths)
    texts.push_back({.ids = std::vector<int32_t>(length, 7), .type_ids = std::vector<int32_t>(length, 1)});
  return texts;
}

TEST(Batches, HoldEveryTextOnceWithinTheBudgetAndNextToNoPadding) {
  std::mt19937 random(11);
  std::vector<size_t> lengths(5000);
  for (size_t& length : lengths) length = 3 + random() % 200;
  const std::vector<Encoding> texts = texts_of(lengths);
  std::vector<int> seen(texts.size());
  int64_t rows = 0, tokens = 0;
  for (const std::vector<size_t>& which : batches_of(texts, 2048)) {
    const TokenBatch batch = padded(texts, which, true);
    EXPECT_LE(batch.batch * batch.length, 2048);
    ASSERT_EQ(batch.ids.size(), static_cast<size_t>(batch.batch * batch.length));
    ASSERT_EQ(batch.type_ids.size(), batch.ids.size());
    rows += batch.batch * batch.length;
    for (size_t at = 0; at < which.size(); ++at) {
      ++seen[which[at]];
      tokens += batch.lengths[at];
      EXPECT_EQ(static_cast<size_t>(batch.lengths[at]), lengths[which[at]]);
    }
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<int64_t>(seen.size()));
  EXPECT_LE(rows, tokens + tokens / 50);
}

TEST(Batches, ATextBeyondTheBudgetAndAnEmptyOneHaveTheirPlace) {
  const std::vector<Encoding> texts = texts_of({0, 5000, 3, 0});
  size_t held = 0;
  for (const std::vector<size_t>& which : batches_of(texts, 2048)) {
    held += which.size();
    if (which[0] == 1) {
      EXPECT_EQ(which.size(), 1U);
    }
  }
  EXPECT_EQ(held, texts.size());
  EXPECT_TRUE(batches_of({}, 2048).empty());
}

}  // namespace
}  // namespace clearhead
