// Listen, attend and spell over synthetic sounds: batches equal single sounds, steps equal the whole run, and the reported weights are
// those that were used.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "clearhead/map.h"
#include "clearhead/trace.h"
#include "models/input_kind.h"
#include "models/network.h"
#include "refused.h"
#include "tolerance.h"

namespace clearhead {
namespace {

Json config_of(const std::string& score) {
  return Json::parse(
      R"({"model_type": "listen_attend_spell", "vocab_size": 12, "embedding_size": 6, "hidden_size": 8, "pyramid_layers": 2, "score": ")" +
          score + R"(", "sound": {"rate": 8000, "window": 64, "hop": 40, "mels": 10}, "eos_token_id": 0, "pad_token_id": 1})",
      "config.json");
}

struct Small {
  explicit Small(const std::string& score = "dot") : network(network_of(config_of(score), "config.json", parameters)) {}
  Parameters parameters{7};
  std::unique_ptr<Network> network;
};

// A frequency sweep of `count` samples, with noise.
Sound sound_of_length(int64_t count) {
  Tensor samples = Tensor::empty({1, count});
  for (int64_t t = 0; t < count; ++t) {
    const auto at = static_cast<double>(t);
    samples.mutable_data<float>()[t] = static_cast<float>(0.3 * std::sin(at * (0.1 + 0.0004 * at)) + 0.01 * std::sin(at * at));
  }
  return {samples, 8000};
}

Batch rows_of_sounds(const Network& network, const std::vector<int64_t>& counts) {
  std::vector<EncodedSide> read;
  for (const int64_t count : counts) read.push_back(*encode_input(network.facts(), nullptr, {.sound = sound_of_length(count)}).source);
  std::vector<const EncodedSide*> readings;
  for (const EncodedSide& one : read) readings.push_back(&one);
  return collate_side(readings, 1);
}

float largest_difference(const Tensor& a, const Tensor& b) {
  float most = 0;
  for (int64_t at = 0; at < a.numel(); ++at) most = std::max(most, std::abs(a.data<float>()[at] - b.data<float>()[at]));
  return most;
}

TEST(ListenAttendSpell, LogitsAreTheSameAloneAndInABatch) {
  for (const char* score : {"dot", "additive"}) {
    const Small small(score);
    const std::vector<int64_t> counts = {40 * 13, 40 * 22, 40 * 5, 40 * 8};
    const std::vector<int32_t> ids = {1, 5, 3, 9};
    const Batch input{.batch = 4, .length = 4, .ids = {1, 5, 3, 9, 1, 5, 3, 9, 1, 5, 3, 9, 1, 5, 3, 9}};
    const Batch together = rows_of_sounds(*small.network, counts);
    Compute compute;
    const Tensor all = small.network->logits(compute, input, &together);
    ASSERT_EQ(all.shape(), (Shape{16, 12}));
    for (int64_t at = 0; at < 4; ++at) {
      const Batch one = rows_of_sounds(*small.network, {counts[static_cast<size_t>(at)]});
      const Tensor alone = small.network->logits(compute, {.batch = 1, .length = 4, .ids = ids}, &one);
      EXPECT_LE(largest_difference(alone, all.slice(0, 4 * at, 4 * at + 4).contiguous()), tolerance::kForwardF32)
          << score << " sound " << at;
    }
  }
}

TEST(ListenAttendSpell, StepwiseDecodingMatchesOneRun) {
  const Small small;
  const Batch sounds = rows_of_sounds(*small.network, {40 * 11, 40 * 18});
  const std::vector<int32_t> ids = {1, 4, 7, 1, 2, 2};
  Compute compute;
  const Tensor whole = small.network->logits(compute, {.batch = 2, .length = 3, .ids = ids}, &sounds);
  ModelCache cache{.batch = 2};
  small.network->read(compute, sounds, cache);
  EXPECT_EQ(cache.source.shape(), (Shape{2, 5, 8}));  // 18 frames are 4.5 items
  EXPECT_EQ(cache.source_lengths, (std::vector<int32_t>{3, 5}));
  for (size_t t = 0; t < 3; ++t) {
    const Tensor logits = small.network->step(compute, {ids[t], ids[3 + t]}, cache);
    ++cache.length;
    for (int64_t row = 0; row < 2; ++row) {
      const int64_t of = 3 * row + static_cast<int64_t>(t);
      EXPECT_LE(largest_difference(logits.slice(0, row, row + 1).contiguous(), whole.slice(0, of, of + 1).contiguous()),
                tolerance::kForwardF32);
    }
  }
}

TEST(ListenAttendSpell, ReportsOneMapOfAllStepsThatLeavesPaddingOut) {
  const Small small;
  const Batch sounds = rows_of_sounds(*small.network, {40 * 5, 40 * 18});
  Maps maps;
  Compute compute({.observer = &maps});
  small.network->logits(compute, {.batch = 2, .length = 3, .ids = {1, 4, 7, 1, 2, 2}}, &sounds);
  ASSERT_EQ(maps.all().size(), 1u);
  EXPECT_EQ(maps.all()[0].site.queries, "target");
  EXPECT_EQ(maps.all()[0].site.keys, "frame");
  const AttentionMap& map = maps.at("cross", 0);
  EXPECT_EQ(map.shape().queries, 3);
  EXPECT_EQ(map.shape().keys, 5);
  const std::vector<float> weights = map.head(0, 0).row(2).weights();
  EXPECT_NEAR(static_cast<double>(weights[0] + weights[1]), 1, 1e-6);  // 5 frames are 2 items
  EXPECT_EQ(weights[2] + weights[3] + weights[4], 0);
}

TEST(ListenAttendSpell, AKnockedOutFrameIsNotHeard) {
  const Small small;
  const Batch sounds = rows_of_sounds(*small.network, {40 * 18});
  const Batch input{.batch = 1, .length = 3, .ids = {1, 4, 7}};
  Compute plain, cut({.interventions = {.knockouts = {{.queries = {1, 2}, .keys = {2, 3}, .family = "cross"}}}});
  const Tensor before = small.network->logits(plain, input, &sounds), after = small.network->logits(cut, input, &sounds);
  EXPECT_EQ(largest_difference(before.slice(0, 0, 1).contiguous(), after.slice(0, 0, 1).contiguous()), 0);
  EXPECT_GT(largest_difference(before.slice(0, 1, 2).contiguous(), after.slice(0, 1, 2).contiguous()), 0);
}

TEST(ListenAttendSpell, FramesAreItemsUnderTheSpectrogram) {
  const Small small;
  const NetworkFacts& facts = small.network->facts();
  EXPECT_EQ(facts.end_token, 0);
  const EncodedSide read = *encode_input(facts, nullptr, {.sound = sound_of_length(40 * 18)}).source;
  EXPECT_EQ(*std::max_element(read.features.data<float>(), read.features.data<float>() + read.features.numel()), 1);
  RunText target{.ids = {1, 4}, .offsets = {{0, 0}, {0, 1}}, .special = {1, 0}, .pieces = {"<pad>", "a"}};
  const RunText text = input_kind("sound").describe_written(target, facts, read);
  ASSERT_EQ(text.items.size(), 1u);
  EXPECT_EQ(text.items[0].kind, "frame");
  EXPECT_EQ(text.items[0].begin, 2);
  EXPECT_EQ(text.items[0].end, 7);
  EXPECT_EQ(text.items[0].picture.shape(), (Shape{10, 20, 3}));
  EXPECT_EQ(text.pieces.back(), "0.08 s");  // 4 items of 4 frames of 5 ms before it
  ASSERT_EQ(text.segments.size(), 1u);
  EXPECT_EQ(text.segments[0].name, "target");
}

TEST(ListenAttendSpell, InvalidConfigFieldsAreRefusedByName) {
  const auto refused = [](const char* field, const Json& value, const std::string& says) {
    Json config = config_of("dot");
    config[field] = value;
    Parameters parameters;
    expect_refused(ErrorCode::kFormat, says, [&] { network_of(config, "config.json", parameters); });
  };
  refused("hidden_size", 7, "\"hidden_size\": expected an even number");
  refused("pyramid_layers", 9, "\"pyramid_layers\": expected a whole number from 1 to 6, found 9");
  refused("score", "cosine", "\"score\": expected one of: dot, additive");
  refused("sound", Json::parse(R"({"rate": 8000, "window": 64, "hop": 40})", ""), "\"sound.mels\" is missing");
  refused("sound", Json::parse(R"({"rate": 8000, "window": 64, "hop": 40, "mels": 10, "highest": 5000})", ""),
          "\"sound\": log_mel: filters from 0 to 5000 Hz");
}

}  // namespace
}  // namespace clearhead
