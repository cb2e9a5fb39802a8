// The first view of a text: the row that attends most to another word, in the head that does.
#include "viewer/opening.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "clearhead/attend.h"

namespace clearhead::viewer {
namespace {

constexpr int64_t kTokens = 14;
constexpr const char* kWords[kTokens] = {"the",     "animal", "did", "not", "cross",  "a", "street",
                                         "because", "it",     "was", "too", "animal", ".", "tired"};

struct Planted {
  int64_t head = 0, query = 0, key = 0;
  float score = 0;
};

// One layer of two causal heads, whose weights are even except where planted.
LoadedTrace loaded_with(const std::vector<Planted>& planted) {
  RunPlan plan;
  plan.families = {
      {.name = "dec", .layers = 1, .heads = 2, .key_heads = 2, .d_k = kTokens, .queries = kTokens, .keys = kTokens, .causal = true}};
  for (const char* word : kWords) {
    const auto begin = static_cast<int64_t>(plan.text.text.size());
    plan.text.text += word;
    plan.text.offsets.push_back({begin, static_cast<int64_t>(plan.text.text.size())});
    plan.text.text += " ";
    plan.text.ids.push_back(static_cast<int32_t>(plan.text.ids.size()));
    plan.text.special.push_back(0);
    plan.text.pieces.emplace_back(word);
  }
  Tensor q = Tensor::zeros({1, 2, kTokens, kTokens}), k = Tensor::zeros({1, 2, kTokens, kTokens});
  for (int64_t head = 0; head < 2; ++head)
    for (int64_t key = 0; key < kTokens; ++key) k.mutable_data<float>()[(head * kTokens + key) * kTokens + key] = 1;
  for (const Planted& one : planted) q.mutable_data<float>()[(one.head * kTokens + one.query) * kTokens + one.key] = one.score;
  AttentionSpec spec{.score = Dot{.scale = 1.0}};
  spec.topology.band = causal().band;
  Trace trace;
  trace.begin(plan);
  trace.take({"dec", 0, 0}, attend(q, k, Tensor::zeros({1, 2, kTokens, 4}), spec).record, {});
  return LoadedTrace(std::make_shared<const Trace>(std::move(trace)), {});
}

std::string opening(const std::vector<Planted>& planted) {
  LoadedTrace loaded = loaded_with(planted);
  return opening_state(loaded);
}

TEST(Opening, ShowsTheLargestWeightOnAnotherWord) {
  EXPECT_EQ(opening({{.head = 1, .query = 8, .key = 1, .score = 4}}), "h=0.1&q=8");
  EXPECT_EQ(opening({{.head = 1, .query = 8, .key = 1, .score = 4}, {.head = 0, .query = 13, .key = 4, .score = 6}}), "h=0.0&q=13");
}

TEST(Opening, PassesOverNeighboursEqualWordsPunctuationAndTheFirstWords) {
  const Planted small{.head = 1, .query = 10, .key = 4, .score = 3};
  for (const Planted& other : {Planted{.head = 0, .query = 8, .key = 7, .score = 9},     // the word before
                               Planted{.head = 0, .query = 11, .key = 1, .score = 9},    // the same word
                               Planted{.head = 0, .query = 13, .key = 12, .score = 9},   // a full stop
                               Planted{.head = 0, .query = 4, .key = 1, .score = 9}}) {  // few words before it
    EXPECT_EQ(opening({small, other}), "h=0.1&q=10") << other.query;
  }
}

TEST(Opening, IsEmptyIfNoWeightStandsOut) { EXPECT_EQ(opening({{.head = 0, .query = 10, .key = 4, .score = 0.3F}}), ""); }

}  // namespace
}  // namespace clearhead::viewer
