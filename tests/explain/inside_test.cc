// Contributions of heads and answers after each layer, against PyTorch (tools/goldens/attribution.py); patches and knock-outs against runs
// with the same change made by hand.
#include "explain/inside.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "clearhead/residual_stream.h"
#include "explain/golden_cases.h"

namespace clearhead::explain {
namespace {

TEST(Inside, HeadContributionsAndLogitLensMatchPyTorch) {
  int cases = 0;
  for (const Json& golden : golden_cases()) {
    const Json* adds = golden.find("adds");
    if (!adds) continue;
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    const std::vector<HeadEffect> found = heads_by_what_they_add(*subject);
    ASSERT_EQ(found.size(), adds->size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i].value, adds->items()[i].number(), 1e-5) << "head " << i;
    const Tensor lens = clearhead::logit_lens(subject->model(), subject->states());
    const auto& expected = golden.find("lens")->items();
    ASSERT_EQ(lens.size(0), static_cast<int64_t>(expected.size()));
    for (int64_t layer = 0; layer < lens.size(0); ++layer) {
      const float* logits = lens.data<float>() + layer * lens.size(1);
      double sum = 0;
      for (int64_t id = 0; id < lens.size(1); ++id) sum += std::exp(static_cast<double>(logits[id]));
      EXPECT_NEAR(std::exp(static_cast<double>(logits[subject->answer_ids().front()])) / sum, expected[static_cast<size_t>(layer)].number(),
                  1e-6)
          << "layer " << layer;
    }
    ++cases;
  }
  EXPECT_EQ(cases, 3);
}

// Pre- and post-norms, rotary positions, grouped keys: the terms are those of PyTorch's residual
// stream, and they add up to the map's score.
TEST(Inside, AScoreSplitsIntoItsQueryAndKeyContributions) {
  int cases = 0;
  for (const Json& golden : golden_cases()) {
    const Json* expected = golden.find("score");
    if (!expected) continue;
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    const auto number = [&](const char* name) { return expected->find(name)->integer(); };
    const int64_t head = number("head"), query = number("query"), key = number("key");
    const auto layer = static_cast<int>(number("layer"));
    const Encoding text = encoding_of(*golden.find("ids"));
    const auto split = [&](int of_layer, int64_t of_query, int64_t of_key) {
      return split_score(subject->model(), text, {.layer = of_layer, .head = head, .query = of_query, .key = of_key});
    };
    const ScoreSplit found = split(layer, query, key);
    const auto &of_query = expected->find("of_query")->items(), &of_key = expected->find("of_key")->items();
    ASSERT_EQ(found.parts.size(), of_query.size());
    double sum_of_query = 0, sum_of_key = 0;
    for (size_t i = 0; i < of_query.size(); ++i) {
      EXPECT_NEAR(found.parts[i].query, of_query[i].number(), 1e-5) << "part " << i;
      EXPECT_NEAR(found.parts[i].key, of_key[i].number(), 1e-5) << "part " << i;
      sum_of_query += found.parts[i].query;
      sum_of_key += found.parts[i].key;
    }
    EXPECT_NEAR(sum_of_query, found.score, 1e-9 + 1e-9 * std::abs(found.score));
    EXPECT_NEAR(sum_of_key, found.score, 1e-9 + 1e-9 * std::abs(found.score));
    Maps maps;
    subject->run(&maps);
    const Site site = looked_at(*subject, layer);
    EXPECT_NEAR(static_cast<double>(maps.at(site.family, layer).head(0, head).row(query).scores()[static_cast<size_t>(key)]), found.score,
                1e-5 * std::max(1.0, std::abs(found.score)));
    EXPECT_EQ(found.parts[1].kind, ScorePart::Kind::kHead);
    EXPECT_EQ(found.parts.back().kind, ScorePart::Kind::kBiases);
    EXPECT_THROW(split(layer, query, 99), Error);
    EXPECT_THROW(split(2, query, key), Error);
    if (subject->model().info().has_causal) {
      EXPECT_THROW(split(layer, key, query), Error);
    }
    ++cases;
  }
  EXPECT_EQ(cases, 4);
}

// For the source, the target and both: the query's terms come from the target, the key's from the encoder's output.
TEST(Inside, EncoderDecoderScoresSplitIntoQueryAndKeyContributions) {
  int cases = 0;
  for (const Json& golden : golden_cases()) {
    const Json* asked = golden.find("scores");
    if (!asked) continue;
    const auto subject = golden_subject(golden);
    const Encoding source = encoding_of(*golden.find("ids")), target = encoding_of(*golden.find("written"));
    Maps maps;
    subject->run(&maps);
    for (const Json& expected : asked->items()) {
      const auto number = [&](const char* name) { return expected.find(name)->integer(); };
      const ScoreAt at{expected.find("family")->string(), static_cast<int>(number("layer")), number("head"), number("query"),
                       number("key")};
      SCOPED_TRACE(at.family);
      const ScoreSplit found = split_score(subject->model(), source, at, target);
      const auto &of_query = expected.find("of_query")->items(), &of_key = expected.find("of_key")->items();
      ASSERT_EQ(found.parts.size(), of_query.size());
      double sum_of_query = 0, sum_of_key = 0;
      for (size_t i = 0; i < of_query.size(); ++i) {
        EXPECT_NEAR(found.parts[i].query, of_query[i].number(), 1e-5) << part_name(found.parts[i]);
        EXPECT_NEAR(found.parts[i].key, of_key[i].number(), 1e-5) << part_name(found.parts[i]);
        sum_of_query += found.parts[i].query;
        sum_of_key += found.parts[i].key;
      }
      EXPECT_NEAR(sum_of_query, found.score, 1e-9 + 1e-9 * std::abs(found.score));
      EXPECT_NEAR(sum_of_key, found.score, 1e-9 + 1e-9 * std::abs(found.score));
      const MapRow row = maps.at(at.family, at.layer).head(0, at.head).row(at.query);
      EXPECT_NEAR(static_cast<double>(row.scores()[static_cast<size_t>(at.key)]), found.score, 1e-5 * std::max(1.0, std::abs(found.score)));
      ++cases;
    }
    EXPECT_THROW(split_score(subject->model(), source, {.family = "cross", .query = 1, .key = 1}), Error) << "without a target";
    EXPECT_THROW(split_score(subject->model(), source, {.query = 1, .key = 1}, target), Error) << "without a family";
    EXPECT_THROW(split_score(subject->model(), source, {.family = "dec", .query = 1, .key = 2}, target), Error) << "not visible";
    EXPECT_THROW(split_score(subject->model(), source, {.family = "cross", .query = 99, .key = 2}, target), Error);
  }
  EXPECT_EQ(cases, 4);
}

// Keeps a head's output, so that a test can patch in the same output times a factor.
class Outputs final : public Observer {
 public:
  Site wanted{};
  Tensor kept{};
  void begin(const RunPlan&) override {}
  bool wants(const Site&) override { return false; }
  void take(const Site&, const AttentionRecord&, const KeyNorms&) override {}
  bool wants_output(const Site& site) override { return site.family == wanted.family && site.layer == wanted.layer; }
  void take_output(const Site&, const Tensor& out) override { kept = out.select(0, 0).clone(); }
};

Tensor times(const Tensor& t, float factor) {
  Tensor out = t.contiguous().clone();
  float* values = out.mutable_data<float>();
  for (int64_t i = 0; i < out.numel(); ++i) values[i] *= factor;
  return out;
}

TEST(Inside, HeadGradientsMatchFiniteDifferences) {
  for (const Json& golden : golden_cases()) {
    SCOPED_TRACE(golden.find("folder")->string());
    const auto subject = golden_subject(golden);
    for (const HeadEffect& head : heads_by_gradient(*subject)) {
      Outputs outputs;
      outputs.wanted = {.family = head.family, .layer = head.layer};
      const double y = subject->run(&outputs).y;
      const Tensor own = outputs.kept.select(0, head.head);
      const auto at = [&](float factor) {
        return subject->run(nullptr, {.patched = {{{head.layer, head.head, head.family}, {0, own.size(0)}, times(own, factor)}}}).y;
      };
      EXPECT_EQ(at(1), y);
      EXPECT_NEAR(std::abs(at(1.01F) - at(0.99F)) / 0.02, head.value, 1e-2 * head.value + 5e-4)
          << head.family << " " << head.layer << "." << head.head;
    }
  }
}

TEST(Inside, KnockingOutAHeadEqualsPatchingZeros) {
  const auto subject = golden_subject(golden_cases()[1]);
  const std::vector<HeadEffect> lost = heads_by_knock_out(*subject);
  ASSERT_EQ(lost.size(), 4U);
  for (const HeadEffect& head : lost) {
    Outputs outputs;
    outputs.wanted = {.family = head.family, .layer = head.layer};
    subject->run(&outputs);
    const Tensor zeros = Tensor::zeros({outputs.kept.size(1), outputs.kept.size(2)});
    const double without =
        subject->run(nullptr, {.patched = {{{head.layer, head.head, head.family}, {0, zeros.size(0)}, zeros}}}).probability;
    EXPECT_NEAR(head.value, subject->probability() - without, 1e-7);
  }
}

TEST(Inside, PatchesRestoreNothingBeforeTheChangedToken) {
  const Json golden = golden_cases()[1];
  const auto model = load(kGoldens + golden.find("folder")->string(), {.tokenizer = false});
  const auto clean = golden_subject(golden, model);
  Json other = golden;
  other["ids"].items()[3] = Json(static_cast<int64_t>(9));
  const auto corrupted = golden_subject(other, model);
  const std::vector<HeadEffect> parts = heads_by_patching(*clean, *corrupted);
  ASSERT_EQ(parts.size(), 4U);
  // Patches all positions one by one: those before the changed token are equal in both texts and restore nothing.
  const std::vector<double> places = places_by_patching(*clean, *corrupted, parts[0]);
  for (size_t place = 0; place < 3; ++place) EXPECT_NEAR(places[place], 0, 1e-4);
  double any = 0;
  for (const double place : places) any = std::max(any, std::abs(place));
  EXPECT_GT(any, 1e-3);
  Json shorter = golden;
  shorter["ids"].items().pop_back();
  EXPECT_THROW((void)heads_by_patching(*clean, *golden_subject(shorter, model)), Error);
}

}  // namespace
}  // namespace clearhead::explain
