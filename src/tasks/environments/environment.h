// Environments for reinforcement learning. An environment is one file of this folder: NAME.cc defines NAME_environment(); the build lists
// the files. An observation is a text of a few words, so that a policy's input can be read, typed and explained like any other text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace clearhead::tasks {

struct Transition {
  double reward = 0;
  bool is_over = false;
};

/// The state of one episode.
class World {
 public:
  virtual ~World() = default;
  /// What the agent sees now: words of Environment::words, separated by spaces.
  virtual std::string observe() const = 0;
  /// True if the observation shows what the last choice of the episode depends on.
  virtual bool shows_cue() const = 0;
  virtual Transition act(size_t action) = 0;
  virtual bool succeeded() const = 0;
  /// The whole state for a person, one string per line of the terminal; ASCII.
  virtual std::vector<std::string> board() const = 0;
};

struct Environment {
  std::string_view name{};  // "task.environment"
  std::vector<std::string> actions{};
  std::vector<std::string> words{};  // every word of an observation
  int64_t words_per_step = 1;        // the number of words in each observation
  int64_t longest = 0;               // an episode that is not over after this many actions has failed
  std::unique_ptr<World> (*start)(uint64_t seed) = nullptr;
};

/// All environments, in the order of their file names.
const std::vector<const Environment*>& environments();
/// Throws kNotFound, with the known names. where: the beginning of the message
const Environment& environment_named(std::string_view name, const std::string& where);

}  // namespace clearhead::tasks
