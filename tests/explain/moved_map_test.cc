// Maps that are changed as far as possible while the answer stays, on the small models of the goldens.
#include "explain/moved_map.h"

#include <gtest/gtest.h>

#include <cmath>

#include "clearhead/error.h"
#include "clearhead/map.h"
#include "explain/evaluate/agreement.h"
#include "explain/golden_cases.h"

namespace clearhead::explain {
namespace {

// The row of a head at this site, in a run with these interventions.
std::vector<float> row_of(const AttributionTarget& subject, const Site& site, const Interventions& interventions, int64_t head) {
  Maps maps;
  subject.run(&maps, interventions);
  return maps.at(site.family, site.layer).head(0, head).row(subject.rows().front()).weights();
}

class MovedMaps : public testing::TestWithParam<int> {
 protected:
  const std::unique_ptr<AttributionTarget> subject_ = golden_subject(golden_cases()[static_cast<size_t>(GetParam())]);
  const Site site_ = looked_at(*subject_, {});
  const double farthest_ = farthest();  // mean over heads of the largest divergence from a row to a row with all weight on one key

 private:
  double farthest() const {
    Maps maps;
    subject_->run(&maps);
    const AttentionMap& map = maps.at(site_.family, site_.layer);
    double sum = 0;
    for (int64_t head = 0; head < map.shape().heads; ++head) {
      const std::vector<float> row = map.head(0, head).row(subject_->rows().front()).weights();
      double most = 0;
      for (size_t key = 0; key < row.size(); ++key) {
        std::vector<double> one(row.size());
        one[key] = 1;
        if (row[key] > 0) most = std::max(most, jensen_shannon(std::vector<double>(row.begin(), row.end()), one));
      }
      sum += most / static_cast<double>(map.shape().heads);
    }
    return sum;
  }
};

TEST_P(MovedMaps, ConstantScoreOffsetsChangeNothingAndReplacedScoresOneRow) {
  const std::vector<float> own = row_of(*subject_, site_, {}, 0);
  const auto keys = static_cast<int64_t>(own.size());
  Maps maps;
  subject_->run(&maps);
  const int64_t heads = maps.at(site_.family, site_.layer).shape().heads, row = subject_->rows().front();
  const auto scores = [&](Tensor added, bool replaces) {
    return Interventions{
        .scores = {{.layer = site_.layer, .family = site_.family, .query = row, .added = std::move(added), .replaces = replaces}}};
  };
  Tensor three = Tensor::empty({heads, keys});
  std::fill_n(three.mutable_data<float>(), three.numel(), 3.0f);
  const std::vector<float> same = row_of(*subject_, site_, scores(three, false), 0),
                           equal = row_of(*subject_, site_, scores(three, true), 0);
  const auto seen = static_cast<float>(std::count_if(own.begin(), own.end(), [](float weight) { return weight > 0; }));
  for (size_t key = 0; key < own.size(); ++key) {
    EXPECT_NEAR(same[key], own[key], 1e-5) << key;
    EXPECT_NEAR(equal[key], own[key] > 0 ? 1 / seen : 0, 1e-6) << key;
  }
  Maps changed;
  subject_->run(&changed, scores(three, true));
  if (row > 0) {
    const auto first = [&](const Maps& of) { return of.at(site_.family, site_.layer).head(0, 0).row(0).weights(); };
    EXPECT_EQ(first(changed), first(maps));
  }
}

TEST_P(MovedMaps, LogProbabilityGradientsMatchFiniteDifferences) {
  std::vector<float> own = row_of(*subject_, site_, {}, 0);
  Maps maps;
  subject_->run(&maps);
  const auto heads = maps.at(site_.family, site_.layer).shape().heads, keys = static_cast<int64_t>(own.size());
  const auto at = [&](int64_t key, double by) {
    Tensor added = Tensor::zeros({heads, keys});
    added.mutable_data<float>()[key] = static_cast<float>(by);
    InputTape tape;
    return subject_->differentiate(
        tape, nullptr, {.scores = {{.layer = site_.layer, .family = site_.family, .query = subject_->rows().front(), .added = added}}},
        AttributionTarget::Number::kLogProbability);
  };
  EXPECT_NEAR(std::exp(at(0, 0)), subject_->probability(), 1e-5);
  struct Row final : Observer {
    void begin(const RunPlan&) override {}
    bool wants(const Site&) override { return false; }
    void take(const Site&, const AttentionRecord&, const KeyNorms&) override {}
    bool wants_gradient(const Site& site) override { return site.family == of.family && site.layer == of.layer; }
    void take_gradient(const Site&, const AttentionRecord& record, const OutputGradient& gradient) override {
      found = GradientMap(record, gradient, GradientLook::kGradient).row(0, 0, query);
    }
    Site of{};
    int64_t query = 0;
    std::vector<float> found{};
  } row;
  row.of = site_;
  row.query = subject_->rows().front();
  InputTape tape;
  subject_->differentiate(tape, &row, {}, AttributionTarget::Number::kLogProbability);
  double mean = 0, largest = 0;
  for (size_t key = 0; key < own.size(); ++key) mean += static_cast<double>(own[key] * row.found[key]);
  for (size_t key = 0; key < own.size(); ++key)
    largest = std::max(largest, std::fabs(static_cast<double>(own[key]) * (static_cast<double>(row.found[key]) - mean)));
  constexpr double kStep = 0.05;
  for (int64_t key = 0; key < keys; ++key) {
    const double analytic =
        static_cast<double>(own[static_cast<size_t>(key)]) * (static_cast<double>(row.found[static_cast<size_t>(key)]) - mean);
    EXPECT_NEAR((at(key, kStep) - at(key, -kStep)) / (2 * kStep), analytic, 0.02 * largest + 1e-5) << key;
  }
}

TEST_P(MovedMaps, TheSearchKeepsTheAnswerAndBeatsRandomMaps) {
  const MovedMapOptions strict{.tolerance = 0.005, .steps = 40};
  const MovedMap found = furthest_map(*subject_, strict);
  EXPECT_NEAR(found.probability, subject_->probability(), 1e-5);
  EXPECT_LE(std::fabs(found.kept - found.probability), strict.tolerance);
  EXPECT_NEAR(subject_->run(nullptr, {.scores = {found.scores}}).probability, found.kept, 1e-5);
  double before = 0, after = 0;
  for (size_t key = 0; key < found.before.size(); ++key) {
    before += static_cast<double>(found.before[key]);
    after += static_cast<double>(found.after[key]);
  }
  EXPECT_NEAR(before, 1, 1e-5);
  EXPECT_NEAR(after, 1, 1e-5);
  // Without the condition, the same search goes further than random numbers, and nearly as far as possible, to one key.
  const MovedMap free = furthest_map(*subject_, {.tolerance = 1, .steps = 60});
  const MovedMap random = furthest_map(*subject_, {.tolerance = 1, .steps = 1});
  EXPECT_GT(random.moved, 0);
  EXPECT_GT(free.moved, random.moved);
  EXPECT_GT(free.moved, 0.8 * farthest_);
  EXPECT_LE(free.moved, farthest_ + 1e-6);
  EXPECT_GE(free.moved + 1e-6, found.moved);
  EXPECT_EQ(furthest_map(*subject_, {.tolerance = 0, .steps = 3}).moved, 0);
}

INSTANTIATE_TEST_SUITE_P(Goldens, MovedMaps, testing::Values(0, 1, 4));

}  // namespace
}  // namespace clearhead::explain
