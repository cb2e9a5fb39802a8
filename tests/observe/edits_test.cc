// What an edit does to one layer: the head that is knocked out gives zeros and keeps its weights; pairs that are cut lose theirs to the rest of the row.
#include <gtest/gtest.h>

#include <cmath>

#include "backends/registry.h"
#include "base/random.h"
#include "clearhead/attend.h"
#include "clearhead/error.h"
#include "clearhead/map.h"

namespace clearhead {
namespace {

constexpr int64_t kHeads = 3, kLength = 70, kWidth = 16;

Tensor random_tensor(uint64_t seed) {
  Tensor tensor = Tensor::empty({1, kHeads, kLength, kWidth});
  float* values = tensor.mutable_data<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(4 * random_unit(seed, static_cast<uint64_t>(i)) - 2);
  return tensor;
}

struct Seen {
  Tensor out{};
  std::vector<float> weights{};  // [head, query, key]
};

Seen seen_under(const Edits& edits, int layer = 2) {
  const Tensor q = random_tensor(1), k = random_tensor(2), v = random_tensor(3);
  const Attended done = attend(q, k, v, edited({.topology = causal()}, edits, {layer, kHeads}));
  Seen seen{.out = done.out, .weights = std::vector<float>(static_cast<size_t>(kHeads * kLength * kLength))};
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < kLength; ++i) rows.push_back(i);
  for (int64_t head = 0; head < kHeads; ++head) {
    backend().weights({.record = done.record,
                       .head = head,
                       .rows = rows.data(),
                       .row_count = kLength,
                       .keys = {0, kLength},
                       .out = seen.weights.data() + head * kLength * kLength,
                       .out_stride = kLength});
  }
  return seen;
}

float weight(const Seen& seen, int64_t head, int64_t query, int64_t key) {
  return seen.weights[static_cast<size_t>((head * kLength + query) * kLength + key)];
}

TEST(Edits, AKnockedOutHeadGivesZerosAndKeepsItsWeights) {
  const Seen whole = seen_under({}), edited = seen_under({.knocked_out = {{2, 1}, {0, 2}}});
  EXPECT_EQ(whole.weights, edited.weights);
  for (int64_t i = 0; i < whole.out.numel(); ++i) {
    const bool knocked = i / (kLength * kWidth) == 1;  // L0.H2 is of another layer
    EXPECT_EQ(edited.out.data<float>()[i], knocked ? 0 : whole.out.data<float>()[i]);
  }
}

TEST(Edits, CutPairsLoseTheirWeightsToTheRestOfTheRow) {
  const Seen whole = seen_under({});
  const Seen cut =
      seen_under({.cut = {{.queries = {40, 60}, .keys = {10, 20}, .head = 1}, {.queries = {65, 66}, .keys = {0, 5}, .layer = 2}}});
  for (int64_t head = 0; head < kHeads; ++head) {
    for (int64_t i = 0; i < kLength; ++i) {
      const auto hidden = [&](int64_t key) { return (head == 1 && i >= 40 && i < 60 && key >= 10 && key < 20) || (i == 65 && key < 5); };
      double left = 0;
      for (int64_t j = 0; j <= i; ++j) left += hidden(j) ? 0 : static_cast<double>(weight(whole, head, i, j));
      for (int64_t j = 0; j <= i; ++j) {
        const double expected = hidden(j) ? 0 : static_cast<double>(weight(whole, head, i, j)) / left;
        ASSERT_NEAR(static_cast<double>(weight(cut, head, i, j)), expected, 2e-6 * expected) << head << " " << i << " " << j;
      }
    }
  }
  EXPECT_EQ(seen_under({.cut = {{.queries = {65, 66}, .keys = {0, 5}, .layer = 2}}}, 1).weights, whole.weights);
}

TEST(Edits, KeepOnlyHidesEverythingElse) {
  const Seen kept = seen_under({.keep_only = {{.queries = {30, 32}, .keys = {3, 4}}}});
  for (int64_t head = 0; head < kHeads; ++head) {
    EXPECT_EQ(weight(kept, head, 30, 3), 1);
    EXPECT_EQ(weight(kept, head, 31, 30), 0);
    EXPECT_GT(weight(kept, head, 32, 30), 0);
  }
}

// Two sequences' queries one after another, of places 4 to 6, over the keys of another sequence.
TEST(Edits, PlacesOfCrossAttentionAreThoseOfEachSequence) {
  const int64_t queries = 6;
  const Tensor q = random_tensor(1).slice(2, 0, queries), k = random_tensor(2), v = random_tensor(3);
  const EditedSite site{.layer = 0, .heads = kHeads, .family = "cross", .cross_queries = Range{4, 7}};
  const Edits edits{.knocked_out = {{0, 0, "dec"}},
                    .cut = {{.queries = {5, 6}, .keys = {0, 3}, .family = "cross"}, {.queries = {0, 9}, .keys = {3, 4}, .family = "enc"}}};
  const Attended done = attend(q, k, v, edited({}, edits, site));
  for (int64_t row = 0; row < queries; ++row) {
    std::vector<float> weights(static_cast<size_t>(kLength));
    backend().weights(
        {.record = done.record, .rows = &row, .row_count = 1, .keys = {0, kLength}, .out = weights.data(), .out_stride = kLength});
    for (int64_t key = 0; key < kLength; ++key)
      EXPECT_EQ(weights[static_cast<size_t>(key)] == 0, row % 3 == 1 && key < 3) << "row " << row << " key " << key;
  }
  EXPECT_NE(done.out.data<float>()[0], 0);
}

TEST(Edits, ThatAreNonsenseAreRefusedByName) {
  const auto message = [](const Edits& edits) -> std::string {
    try {
      (void)edited({}, edits, {0, kHeads});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({.knocked_out = {{0, 3}}}), "knocked-out head L0.H3; heads are 0 to 2");
  EXPECT_NE(message({.cut = {{.queries = {5, 4}, .keys = {0, 1}}}}).find("a cut: queries 5 to 4"), std::string::npos);
  EXPECT_NE(message({.keep_only = {{.queries = {0, 1}, .keys = {-1, 1}}}}).find("a keep-only: keys -1 to 1"), std::string::npos);
  EXPECT_NE(message({.cut = {{.queries = {0, 1}, .keys = {0, 1}, .head = 9}}}).find("head 9"), std::string::npos);
}

}  // namespace
}  // namespace clearhead
