// Plays episodes of an environment with a policy, several at once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/tensor.h"
#include "clearhead/tokenizer.h"
#include "models/encoded_input.h"
#include "models/network.h"
#include "tasks/environments/environment.h"

namespace clearhead::tasks {

struct PlayedStep {
  std::string observation{};
  size_t action = 0;
  double probability = 0;  // of the action
  double reward = 0;
  bool shows_cue = false;
  std::vector<std::string> board{};  // before the action; only if asked for
};

struct Episode {
  std::vector<PlayedStep> steps{};
  bool succeeded = false;
  EncodedInput read{};  // the observations
};

/// The logits of a policy's actions after the last observation of each episode.   → [episode, action]
using RunPolicy = std::function<Tensor(const Batch& episodes)>;

/// The observation with which an episode begins, as the network reads it.
EncodedInput first_observation(const Environment& environment, const NetworkFacts& facts, const Tokenizer& tokenizer, uint64_t seed);

/// Plays one episode for each seed. Actions are drawn from the policy's distribution. The seed determines the world and the draws.
/// draws_board: fill PlayedStep::board
std::vector<Episode> play(const Environment& environment, const NetworkFacts& facts, const Tokenizer& tokenizer,
                          const std::vector<uint64_t>& seeds, const RunPolicy& policy, bool draws_board = false);

/// The seed of test episode `number`, which every model is measured on.
uint64_t seed_of_test(int64_t number);

}  // namespace clearhead::tasks
