// Beam search against the library: the same tokens and scores, for sentences in a batch, alone and in any order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/parallel.h"
#include "clearhead/atlas.h"
#include "clearhead/generate.h"
#include "clearhead/trace.h"
#include "models/golden.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

struct Expected {
  std::vector<int32_t> ids{};
  std::optional<double> score{};  // for beam searches
};

class Searches : public testing::TestWithParam<const char*> {
 protected:
  const Golden golden{GetParam(), std::string(GetParam()) == "marian" ? "searched" : "plain"};
  const std::shared_ptr<const Model> model = load(golden.directory, {.tokenizer = false});
  const int64_t count = golden.tensor("search.beams").numel();
  const bool translates = golden.has("source_ids");

  Beams beams(int64_t search) const {
    return {golden.tensor("search.beams").data<int32_t>()[search],
            static_cast<double>(golden.tensor("search.penalty").data<float>()[search])};
  }
  Expected expected(int64_t search, int64_t index) const {
    Expected out{golden.row("search.ids." + std::to_string(search), index)};
    std::erase(out.ids, -1);
    const std::string score = "search.score." + std::to_string(search);
    if (golden.has(score)) out.score = static_cast<double>(golden.tensor(score).data<float>()[index]);
    return out;
  }
  Encoding prompt(int64_t index) const {
    std::vector<int32_t> ids = golden.row(translates ? "source_ids" : "input_ids", index);
    if (translates) {
      const std::vector<int32_t> mask = golden.row("source_mask", index);
      ids.resize(static_cast<size_t>(std::count(mask.begin(), mask.end(), 1)));
    }
    return {.ids = ids, .type_ids = std::vector<int32_t>(ids.size(), 0), .offsets = {}, .segment = std::vector<uint8_t>(ids.size(), 0)};
  }
  GenerateOptions options(int64_t search) const { return {.max_tokens = golden.tensor("search.ids.0").size(1), .beams = beams(search)}; }
  void expect(const Generated& made, int64_t search, int64_t index) const {
    const Expected wanted = expected(search, index);
    EXPECT_EQ(made.ids, wanted.ids) << "search " << search << ", text " << index;
    ASSERT_EQ(wanted.score.has_value(), beams(search).count > 1);
    if (wanted.score) {
      EXPECT_NEAR(made.score, *wanted.score, tolerance::kHidden * std::max(1.0, std::abs(*wanted.score)));
    }
    const bool is_full = static_cast<int64_t>(wanted.ids.size()) == options(search).max_tokens;
    EXPECT_TRUE(made.reason == StopReason::kStopToken || (is_full && made.reason == StopReason::kMaxTokens));
  }
};
INSTANTIATE_TEST_SUITE_P(Families, Searches, testing::Values("marian", "gpt2"), variant_name);

TEST_P(Searches, TokensAndScoresMatchTransformers) {
  for (int64_t search = 0; search < count; ++search) {
    for (int64_t index = 0; index < golden.tensor(translates ? "source_ids" : "input_ids").size(0); ++index) {
      expect(generate(*model, prompt(index), options(search)), search, index);
    }
  }
}

TEST(BeamSearch, ABatchGivesTheSameTextsAsEachSentenceAlone) {
  const Golden golden("marian", "searched");
  const auto model = load(golden.directory, {.tokenizer = false});
  std::vector<Encoding> sources;
  for (int32_t at = 0; at < 70; ++at) {  // more than one batch
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 2 + at % 9; ++i) ids.push_back(5 + (at * 7 + i * 11) % 50);
    sources.push_back({.ids = ids});
  }
  const GenerateOptions options{.max_tokens = 9, .beams = {.count = 3, .length_penalty = 0.8}};
  const std::vector<Generated> together = generate_from(*model, sources, options);
  ASSERT_EQ(together.size(), sources.size());
  for (size_t at = 0; at < sources.size(); ++at) {
    const Generated alone = generate(*model, sources[at], options);
    EXPECT_EQ(together[at].ids, alone.ids) << at;
    EXPECT_NEAR(together[at].score, alone.score, tolerance::kTwoWays);
    EXPECT_EQ(together[at].prompt_tokens, static_cast<int64_t>(sources[at].ids.size()));
  }
}

// Enough sources for two batches on each of three threads.
TEST(BeamSearch, BatchesOnSeveralThreadsWriteWhatOneThreadWrites) {
  const auto model = load(golden_directory("marian", "searched"), {.tokenizer = false});
  std::vector<Encoding> sources;
  for (int32_t at = 0; at < 200; ++at) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 2 + at % 9; ++i) ids.push_back(5 + (at * 7 + i * 11) % 50);
    sources.push_back({.ids = ids});
  }
  GenerateOptions options{.max_tokens = 9, .beams = {.count = 4}};
  const int before = threads();
  set_threads(1);
  const std::vector<Generated> expected = generate_from(*model, sources, options);
  set_threads(3);
  double done = 0;
  options.progress = [&, caller = std::this_thread::get_id()](double fraction) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_GE(fraction, done);
    done = fraction;
  };
  const std::vector<Generated> found = generate_from(*model, sources, options);
  EXPECT_EQ(done, 1);
  for (size_t at = 0; at < sources.size(); ++at) {
    EXPECT_EQ(found[at].ids, expected[at].ids) << at;
    EXPECT_NEAR(found[at].score, expected[at].score, tolerance::kTwoWays);
  }
  options.progress = nullptr;
  sources[130].ids[0] = 1 << 20;  // an error in one batch reaches the caller, and the next call works
  expect_refused(ErrorCode::kInvalidArgument, "outside the model's", [&] { (void)generate_from(*model, sources, options); });
  EXPECT_EQ(generate_from(*model, {sources[0]}, options)[0].ids, expected[0].ids);
  set_threads(before);
}

TEST(LogProbabilitiesFrom, MatchTheProbabilitiesOfABeamSearch) {
  const auto model = load(golden_directory("marian", "searched"), {.tokenizer = false});
  std::vector<Encoding> sources, targets;
  std::vector<Generated> written;
  for (int32_t at = 0; at < 40; ++at) {  // of different lengths, so that sources and targets are padded
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 2 + at % 9; ++i) ids.push_back(5 + (at * 7 + i * 11) % 50);
    sources.push_back({.ids = ids});
    written.push_back(generate(*model, sources.back(), {.max_tokens = 3 + at % 7, .beams = {.count = 2}}));
    targets.push_back({.ids = written.back().ids});
  }
  const std::vector<std::vector<float>> found = log_probabilities_from(*model, sources, targets);
  ASSERT_EQ(found.size(), sources.size());
  for (size_t at = 0; at < found.size(); ++at) {
    ASSERT_EQ(found[at].size(), targets[at].size());
    for (size_t token = 0; token < found[at].size(); ++token) {
      EXPECT_NEAR(static_cast<double>(found[at][token]), std::log(static_cast<double>(written[at].tokens[token].probability)),
                  tolerance::kLogProbability);
    }
  }
  expect_refused(ErrorCode::kInvalidArgument, "1 sources and 2 targets", [&] {
    log_probabilities_from(*model, {sources[0]}, {targets[0], targets[1]});
  });
  expect_refused(ErrorCode::kInvalidArgument, "text 1: the target has no tokens", [&] {
    log_probabilities_from(*model, {sources[0], sources[1]}, {targets[0], Encoding{}});
  });
  const auto causal = load(golden_directory("gpt2", "plain"), {.tokenizer = false});
  expect_refused(ErrorCode::kUnsupported, "reads no source", [&] { log_probabilities_from(*causal, sources, targets); });
}

TEST(BeamSearch, SuppressedTokensAndThePositionLimitAreRespected) {
  const Golden golden("marian", "searched");
  const auto model = load(golden.directory, {.tokenizer = false});
  const Encoding source{.ids = {9, 8, 7, 6}};
  for (const int64_t count : {1, 3}) {
    const Generated free = generate(*model, source, {.max_tokens = 6, .beams = {count}});
    const Generated made = generate(
        *model, source,
        {.max_tokens = 100, .stop_ids = std::vector<int32_t>{}, .beams = {count}, .rules = GenerationRules{.suppress_tokens = free.ids}});
    for (const int32_t id : made.ids) EXPECT_EQ(std::count(free.ids.begin(), free.ids.end(), id), 0) << id;
    EXPECT_EQ(static_cast<int64_t>(made.ids.size()), model->info().longest);
    EXPECT_EQ(made.reason, StopReason::kPositions);
  }
}

TEST(BeamSearch, ATraceContainsBothTextsAndTheMapsOfAFullRun) {
  const Golden golden("marian", "searched");
  const auto model = load(golden.directory, {.tokenizer = false});
  const Encoding source{.ids = {9, 8, 7, 6, 30},
                        .type_ids = {0, 0, 0, 0, 0},
                        .offsets = {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}},
                        .segment = {0, 0, 0, 0, 0}};
  Trace trace;
  GenerateOptions options{.max_tokens = 6, .stop_ids = std::vector<int32_t>{}, .beams = {.count = 3}};
  options.run.observer = &trace;
  options.run.text = "abcde";
  const Generated made = generate_from(*model, {source}, options)[0];
  std::vector<int32_t> target = {model->info().first_token};
  target.insert(target.end(), made.ids.begin(), made.ids.end());
  const auto rows = static_cast<int64_t>(target.size());
  KeepAll kept;
  (void)model->run_from({.batch = 1, .length = 5, .ids = source.ids}, {.batch = 1, .length = rows, .ids = target}, {.observer = &kept});
  const std::string path = (std::filesystem::temp_directory_path() / "clearhead-translation.trace").string();
  trace.save(path);
  const Trace loaded = Trace::load(path);
  std::filesystem::remove(path);
  ASSERT_EQ(kept.taken.size(), 4U);  // two encoder layers, and one decoder layer with its cross-attention
  for (const Trace* look : {static_cast<const Trace*>(&trace), &loaded}) {
    EXPECT_EQ(look->main_family(), "cross");
    EXPECT_EQ(look->plan().text.ids.size(), 5 + target.size());
    ASSERT_EQ(look->plan().text.segments.size(), 2U);
    EXPECT_EQ(look->plan().text.segments[1].begin, 5);
    for (const KeepAll::Taken& taken : kept.taken) {
      const LayerMap map = look->map(taken.site.family, taken.site.layer);
      const int64_t first_query = taken.site.family == "enc" ? 0 : 5, first_key = taken.site.family == "dec" ? 5 : 0;
      EXPECT_EQ(map.queries(), 5 + rows);
      const MapHead head = AttentionMap(taken.record).head(0, 1);
      for (int64_t i = 0; i < taken.record.query_length; ++i) {
        const std::vector<float> expected = head.row(i).weights(), found = map.row(1, first_query + i).weights();
        for (int64_t j = 0; j < map.keys(); ++j) {
          const bool inside = j >= first_key && j < first_key + key_length(taken.record.keys);
          if (inside) {
            EXPECT_EQ(found[static_cast<size_t>(j)], expected[static_cast<size_t>(j - first_key)]) << taken.site.family;
          }
          EXPECT_EQ(std::isnan(found[static_cast<size_t>(j)]), !inside) << taken.site.family << ": never scored is not zero";
        }
      }
      const Tensor norms = look->norms(taken.site.family, taken.site.layer).output;
      EXPECT_EQ(norms.select(0, 0).select(0, 1).data<float>()[first_key + 2],
                taken.norms.output.select(0, 0).select(0, 1).data<float>()[2]);
    }
    const std::vector<HeadScores> scores = head_atlas(*look, "cross");
    ASSERT_EQ(scores.size(), 4U);
    EXPECT_TRUE(std::isnan(scores[0][HeadScore::kSelf])) << "source and target tokens are never the same token";
    EXPECT_LE(scores[0][HeadScore::kBroad], 1.0001F);
    EXPECT_GT(scores[0][HeadScore::kBroad], 0.2F);
  }
  Trace tight({.budget_bytes = 3000});
  options.run.observer = &tight;
  expect_refused(ErrorCode::kBudget, "the budget is 2.9 KiB", [&] { (void)generate_from(*model, {source}, options); });
}

TEST(BeamSearch, UnsupportedOptionsAndModelsAreRefused) {
  const auto model = load(golden_directory("marian", "searched"), {.tokenizer = false});
  const auto causal = load(golden_directory("gpt2", "plain"), {.tokenizer = false});
  expect_refused(ErrorCode::kUnsupported, "generation from a source does not support sampling",
                 [&] { (void)generate(*model, {5}, {.sampling = Sampling{}}); });
  expect_refused(ErrorCode::kInvalidArgument, "beam search does not sample",
                 [&] { (void)generate(*causal, {5}, {.sampling = Sampling{}, .beams = {4}}); });
  expect_refused(ErrorCode::kInvalidArgument, "on_token and stop_texts need one beam",
                 [&] { (void)generate(*causal, {5}, {.stop_texts = {"a"}, .beams = {4}}); });
  expect_refused(ErrorCode::kInvalidArgument, "beams: expected 1 or more, found 0", [&] { (void)generate(*causal, {5}, {.beams = {0}}); });
  expect_refused(ErrorCode::kUnsupported, "reads no source", [&] { (void)generate_from(*causal, {Encoding{.ids = {5}}}); });
  expect_refused(ErrorCode::kInvalidArgument, "a source has no tokens", [&] { (void)generate_from(*model, {Encoding{}}); });
}

TEST(BeamSearch, BeamsThatTheMemoryCannotHoldAreRefusedBeforeTheFirstStep) {
  for (const char* family : {"marian", "gpt2"}) {
    const auto model = load(golden_directory(family, family == std::string("marian") ? "searched" : "plain"), {.tokenizer = false});
    try {
      (void)generate(*model, {5}, {.max_tokens = 2, .beams = {.count = 1'000'000'000'000}});
      FAIL() << "a search of 10^12 beams began";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBudget) << error.what();
    }
  }
}

}  // namespace
}  // namespace clearhead
