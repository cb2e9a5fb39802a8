// The policy with attention over its memory: padding and later steps change nothing, the memory's size limits what a step sees.
#include <gtest/gtest.h>

#include "base/format.h"
#include "clearhead/compute.h"
#include "models/network.h"

namespace clearhead {
namespace {

std::unique_ptr<Network> policy(Parameters& parameters, int64_t memory) {
  const std::string config = format(
      R"({{"model_type": "memory_policy", "vocab_size": 9, "word_size": 3, "words_per_step": 2, "hidden_size": 8, "num_hidden_layers": 1,
          "num_attention_heads": 2, "memory_size": {}, "id2label": {{"0": "stay", "1": "go"}}}})",
      memory);
  return network_of(Json::parse(config, "config"), "config", parameters);
}

// One episode for each list; a step has two words.
Batch batch_of(const std::vector<std::vector<int32_t>>& episodes) {
  Batch out{.length = 2, .groups = {.batch = static_cast<int64_t>(episodes.size())}};
  for (const auto& ids : episodes) out.groups.length = std::max(out.groups.length, static_cast<int64_t>(ids.size() / 2));
  for (std::vector<int32_t> ids : episodes) {
    out.groups.lengths.push_back(static_cast<int32_t>(ids.size() / 2));
    for (int64_t step = 0; step < out.groups.length; ++step) out.lengths.push_back(step < out.groups.lengths.back() ? 2 : 0);
    ids.resize(static_cast<size_t>(out.groups.length * 2), 0);
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
  }
  out.batch = out.groups.rows();
  return out;
}

std::vector<float> logits(const Network& network, const std::vector<std::vector<int32_t>>& episodes) {
  Compute compute;
  const Tensor found = network.logits(compute, batch_of(episodes), nullptr);
  return {found.data<float>(), found.data<float>() + found.numel()};
}

TEST(MemoryPolicy, LogitsAreThoseOfTheLastStepInTraining) {
  Parameters parameters(3);
  const auto network = policy(parameters, 10);
  Compute compute;
  const Batch batch = batch_of({{1, 2, 3, 4, 5, 6}, {7, 8}});
  const Tensor all = network->training_output(compute, batch, nullptr);  // [6, 3]
  const std::vector<float> last = logits(*network, {{1, 2, 3, 4, 5, 6}, {7, 8}});
  EXPECT_EQ(all.shape(), (Shape{6, 3}));
  for (size_t action = 0; action < 2; ++action) {
    EXPECT_FLOAT_EQ(last[action], all.data<float>()[2 * 3 + action]);
    EXPECT_FLOAT_EQ(last[2 + action], all.data<float>()[3 * 3 + action]);
  }
}

TEST(MemoryPolicy, PaddingChangesNothing) {
  Parameters parameters(3);
  const auto network = policy(parameters, 10);
  const std::vector<float> alone = logits(*network, {{7, 8}}), padded = logits(*network, {{1, 2, 3, 4, 5, 6}, {7, 8}});
  for (size_t action = 0; action < 2; ++action) EXPECT_NEAR(alone[action], padded[2 + action], 1e-5);
}

TEST(MemoryPolicy, MemorySizeLimitsWhatAStepSees) {
  for (const int64_t memory : {1, 2, 3}) {
    Parameters parameters(3);
    const auto network = policy(parameters, memory);
    const bool is_seen = logits(*network, {{1, 2, 3, 4, 5, 6}}) != logits(*network, {{7, 8, 3, 4, 5, 6}});
    EXPECT_EQ(is_seen, memory >= 3) << memory;
  }
}

}  // namespace
}  // namespace clearhead
