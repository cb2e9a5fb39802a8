// Environments for reinforcement learning. Each environment is one file in this folder: NAME.cc defines NAME_environment(), and the build
// lists the files. An observation is a text of a few words, so a policy's input can be read, typed and explained like any other text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/network.h"

namespace clearhead::tasks {

struct Transition {
  double reward = 0;
  bool is_over = false;
};

/// The state of one episode.
class World {
 public:
  virtual ~World() = default;
  /// Returns the current observation: words from Environment::words, separated by spaces.
  virtual std::string observe() const = 0;
  /// True if the current observation contains the cue: the information on which the last action of the episode depends.
  virtual bool shows_cue() const = 0;
  /// Takes an action, given by its index in Environment::actions.
  virtual Transition act(size_t action) = 0;
  virtual bool succeeded() const = 0;
  /// Draws the complete state for the terminal, one ASCII string per line.
  virtual std::vector<std::string> board() const = 0;
};

struct Environment {
  std::string_view name{};  // "task.environment"
  std::vector<std::string> actions{};
  std::vector<std::string> words{};  // the vocabulary of the observations
  int64_t words_per_step = 1;        // number of words in an observation
  BoardFacts board{};                // how an observation is drawn
  int64_t max_steps = 0;             // an episode that has not ended after this many actions counts as failed
  std::unique_ptr<World> (*start)(uint64_t seed) = nullptr;
};

/// All environments, in the order of their file names.
const std::vector<const Environment*>& environments();
/// Their names, in that order.
std::vector<std::string> environment_names();
/// Null if there is no environment of this name.
const Environment* find_environment(std::string_view name);
/// The same, but throws kNotFound, with the known names, if there is none. where: the beginning of the message
const Environment& environment_named(std::string_view name, const std::string& where);

}  // namespace clearhead::tasks
