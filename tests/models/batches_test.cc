// Batches of texts of similar length: each text occurs once, with little padding, within the token budget.
#include "models/batches.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "base/parallel.h"
#include "refused.h"

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
    const Batch batch = padded(texts, which, true);
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

TEST(Batches, IncludeEmptyTextsAndTextsBeyondTheBudget) {
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

// Sets the number of threads for one test.
class Threads {
 public:
  explicit Threads(int count) : before_(threads()) { set_threads(count); }
  ~Threads() { set_threads(before_); }

 private:
  int before_;
};

// With three threads, five batches run one after another on all threads; six run concurrently, one thread each.
TEST(ForBatches, RunsEachOnceAndReportsProgressOnTheCallingThread) {
  const Threads three(3);
  const std::thread::id caller = std::this_thread::get_id();
  for (const size_t count : {1, 5, 6, 40}) {
    std::vector<std::vector<size_t>> batches;
    for (size_t at = 0; at < count; ++at) batches.push_back({2 * at, 2 * at + 1});
    std::vector<std::atomic<int>> seen(2 * count);
    double last = 0;
    for_batches(
        batches,
        [&](double fraction) {
          EXPECT_EQ(std::this_thread::get_id(), caller);
          EXPECT_GE(fraction, last);
          last = fraction;
        },
        [&](const std::vector<size_t>& texts) {
          EXPECT_EQ(threads(), count < 6 ? 3 : 1);
          std::this_thread::sleep_for(std::chrono::milliseconds(1));  // gives other threads the time to take batches
          for (const size_t text : texts) ++seen[text];
        });
    for (const std::atomic<int>& times : seen) EXPECT_EQ(times, 1);
    EXPECT_EQ(last, 1);
  }
  for_batches({}, nullptr, [](const std::vector<size_t>&) { FAIL(); });
}

TEST(ForBatches, PassesTheErrorOfABatchOn) {
  const Threads three(3);
  for (const size_t count : {4, 12}) {
    std::vector<std::vector<size_t>> batches;
    for (size_t at = 0; at < count; ++at) batches.push_back({at});
    expect_refused(ErrorCode::kTooLong, "text 3", [&] {
      for_batches(batches, nullptr, [](const std::vector<size_t>& texts) {
        if (texts[0] == 3) throw Error(ErrorCode::kTooLong, "text 3 is too long");
      });
    });
  }
}

}  // namespace
}  // namespace clearhead
