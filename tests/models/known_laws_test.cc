// The laws of known_answers.h, measured in the engine: every row of 1,000 tokens, and sampled rows of 100,000 tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "golden.h"
#include "largest.h"
#include "models/known_answers.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

template <class Options>
std::shared_ptr<const Model> made(const std::string& name, const Options& options) {
  const auto directory = std::filesystem::temp_directory_path() / ("clearhead-laws-" + name);
  write_known_model(directory.string(), options);
  return load(directory.string());
}

std::vector<int32_t> bytes_of(const std::string& text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

/// Reads selected rows during the run and does not keep any record.
class SelectedRows : public Observer {
 public:
  explicit SelectedRows(std::vector<int64_t> wanted) : wanted_(std::move(wanted)) {}
  void begin(const RunPlan&) override {}
  bool wants(const Site&) override { return true; }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms&) override {
    const AttentionMap map(record);
    for (int64_t head = 0; head < map.shape().heads; ++head) {
      auto& rows = of[{site.layer, static_cast<int>(head)}];
      for (const int64_t row : wanted_) rows.push_back(map.head(0, head).row(row).weights());
    }
  }

  std::map<std::pair<int, int>, std::vector<std::vector<float>>> of{};  // [layer, head][wanted row]

 private:
  std::vector<int64_t> wanted_;
};

/// The keys that the induction head must attend to from row i: those after every earlier copy of the last `context` bytes.
std::vector<int64_t> induction_targets(const std::string& text, int64_t i, int64_t context) {
  std::vector<int64_t> targets;
  if (i + 1 < context) return targets;
  const std::string last = text.substr(static_cast<size_t>(i + 1 - context), static_cast<size_t>(context));
  for (size_t at = text.find(last); at != std::string::npos; at = text.find(last, at + 1)) {
    const int64_t target = static_cast<int64_t>(at) + context;
    if (target > i) break;
    targets.push_back(target);
  }
  return targets;
}

/// The largest |P_ij − 1/targets| of a row; the expected weight of all other keys is 0.
double distance_from_law(const std::vector<float>& row, const std::vector<int64_t>& targets) {
  std::vector<double> expected(row.size());
  for (const int64_t target : targets) expected[static_cast<size_t>(target)] = 1.0 / static_cast<double>(targets.size());
  Largest largest;
  for (size_t key = 0; key < row.size(); ++key) largest.add(static_cast<double>(row[key]) - expected[key]);
  return largest.value();
}

std::vector<int64_t> back_targets(int64_t i, int64_t back, int64_t length) {
  if (i - back < 0 || i - back >= length) return {};
  return {i - back};
}

std::vector<int64_t> every(int64_t step, int64_t length) {
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < length; row += step) rows.push_back(row);
  rows.push_back(length - 1);
  return rows;
}

void expect_causal_laws(const std::string& text, int64_t context, const std::vector<int64_t>& wanted, double bound, int64_t window = 0) {
  const auto model = made("causal-" + std::to_string(context), KnownCausal{.context = context, .window = window});
  const auto length = static_cast<int64_t>(text.size());
  SelectedRows rows(wanted);
  model->run(bytes_of(text), {.observer = &rows, .last_logits_only = true});
  for (size_t at = 0; at < wanted.size(); ++at) {
    const int64_t i = wanted[at];
    for (int head = 0; head < std::max<int64_t>(context, 2); ++head) {
      EXPECT_LE(distance_from_law(rows.of[{0, head}][at], back_targets(i, head + 1, length)), bound) << "L0.H" << head << " row " << i;
    }
    EXPECT_LE(distance_from_law(rows.of[{1, 0}][at], induction_targets(text, i, context)), bound) << "induction, row " << i;
    EXPECT_LE(distance_from_law(rows.of[{1, 1}][at], {0}), bound) << "first token, row " << i;
  }
}

TEST(KnownLaws, HoldInEveryRowOfAThousandTokensForEveryContext) {
  const KnownText known = make_known_text(1000, 21);
  for (int64_t context = 1; context <= 4; ++context) expect_causal_laws(known.text, context, every(1, 1000), tolerance::kLaw);
}

TEST(KnownLaws, HoldWhereTheFirstLayerSlidesAWindow) {
  const KnownText known = make_known_text(1000, 21);
  expect_causal_laws(known.text, 2, every(1, 1000), tolerance::kLaw, 17);
  KeepAll kept;
  made("slides", KnownCausal{.window = 17})->run(bytes_of(known.text), {.observer = &kept});
  EXPECT_EQ(kept.taken.at(0).record.spec.topology.band.back, 16);
  EXPECT_FALSE(kept.taken.at(1).record.spec.topology.band.back.has_value());
  expect_refused(ErrorCode::kInvalidArgument, "window: expected 0, or at least 3 keys, found 2",
                 [&] { (void)made("slides", KnownCausal{.window = 2}); });
}

TEST(KnownLaws, HoldInSampledRowsOfAHundredThousandTokens) {
  // The reference backend needs minutes for 5·10⁹ pairs per head, so its text is shorter.
  const int64_t length = backend().isa == InstructionSet::kReference ? 3'000 : 100'000;
  const KnownText known = make_known_text(length, 22);
  std::vector<int64_t> wanted = every(length / 10 - 27, length);
  for (int64_t at = 0; at < 8; ++at) wanted.push_back(known.second_passage.begin + 1 + 37 * at);
  std::sort(wanted.begin(), wanted.end());
  expect_causal_laws(known.text, 2, wanted, tolerance::kLawOfLong);
}

TEST(KnownLaws, BidirectionalHeadsAttendBackAndToEqualBytes) {
  const KnownText known = make_known_text(1000, 23);
  for (const int64_t back : {4, -2}) {
    const auto model = made("both-ways", KnownBidirectional{.back = back});
    SelectedRows rows(every(1, 1000));
    model->run(bytes_of(known.text), {.observer = &rows});
    for (int64_t i = 0; i < 1000; ++i) {
      std::vector<int64_t> equal;
      for (size_t at = 0; at < known.text.size(); ++at) {
        if (known.text[at] == known.text[static_cast<size_t>(i)]) equal.push_back(static_cast<int64_t>(at));
      }
      EXPECT_LE(distance_from_law(rows.of[{0, 0}][static_cast<size_t>(i)], back_targets(i, back, 1000)), tolerance::kLaw) << "row " << i;
      EXPECT_LE(distance_from_law(rows.of[{0, 1}][static_cast<size_t>(i)], equal), tolerance::kLaw) << "row " << i;
    }
  }
}

TEST(KnownLaws, TheTokenizerCountsBytes) {
  const auto model = made("tokens", KnownCausal{});
  EXPECT_EQ(model->tokenizer().encode("a\n猫 \x7F").ids, (std::vector<int32_t>{'a', '\n', 0xE7, 0x8C, 0xAB, ' ', 0x7F}));
  EXPECT_EQ(model->tokenizer().decode({0xE7, 0x8C, 0xAB}), "猫");
}

}  // namespace
}  // namespace clearhead
