// Runs the policy over the observations so far of all episodes that are not over, and draws an action for each.
#include "tasks/data/episodes.h"

#include <algorithm>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "ops/ops.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kTestSeed = 0x74657374, kActionSeed = 0x616374;

}  // namespace

const Environment* find_environment(std::string_view name) {
  const auto& all = environments();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Environment* one) { return one->name == name; });
  return found == all.end() ? nullptr : *found;
}

std::vector<std::string> environment_names() {
  std::vector<std::string> names;
  for (const Environment* one : environments()) names.emplace_back(one->name);
  return names;
}

const Environment& environment_named(std::string_view name, const std::string& where) {
  if (const Environment* found = find_environment(name)) return *found;
  std::string known;
  for (const std::string& one : environment_names()) known += (known.empty() ? "" : ", ") + one;
  fail(ErrorCode::kNotFound, "{}: there is no environment \"{}\"; expected one of: {}", where, name, known);
}

EncodedInput first_observation(const Environment& environment, const NetworkFacts& facts, const Tokenizer& tokenizer, uint64_t seed) {
  return encode_input(facts, &tokenizer, {.texts = {environment.start(seed)->observe()}});
}

std::vector<Episode> play(const Environment& environment, const NetworkFacts& facts, const Tokenizer& tokenizer,
                          const std::vector<uint64_t>& seeds, const RunPolicy& policy, bool draws_board) {
  std::vector<std::unique_ptr<World>> worlds;
  std::vector<Episode> out(seeds.size());
  std::vector<size_t> going;
  for (size_t at = 0; at < seeds.size(); ++at) {
    worlds.push_back(environment.start(seeds[at]));
    out[at].read.input.is_group = true;
    going.push_back(at);
  }
  const size_t actions = environment.actions.size();
  for (int64_t step = 0; step < environment.max_steps && !going.empty(); ++step) {
    std::vector<const EncodedInput*> inputs;
    for (const size_t at : going) {
      PlayedStep& now = out[at].steps.emplace_back();
      now.observation = worlds[at]->observe();
      now.shows_cue = worlds[at]->shows_cue();
      if (draws_board) now.board = worlds[at]->board();
      EncodedInput read = encode_input(facts, &tokenizer, {.texts = {now.observation}});
      out[at].read.input.sequences.push_back(std::move(read.input.sequences[0]));
      inputs.push_back(&out[at].read);
    }
    const Tensor logits = policy(collate(inputs, facts.pad).input);
    std::vector<size_t> next;
    for (size_t row = 0; row < going.size(); ++row) {
      const size_t at = going[row];
      PlayedStep& now = out[at].steps.back();
      const std::vector<double> probabilities = ops::softmax_of(logits.data<float>() + row * actions, static_cast<int64_t>(actions));
      now.action = random_index(probabilities, random_unit(random_bits(seeds[at], kActionSeed), static_cast<uint64_t>(step)));
      now.probability = probabilities[now.action];
      const Transition transition = worlds[at]->act(now.action);
      now.reward = transition.reward;
      if (!transition.is_over) next.push_back(at);
    }
    going = std::move(next);
  }
  for (size_t at = 0; at < seeds.size(); ++at) out[at].succeeded = worlds[at]->succeeded();
  return out;
}

uint64_t seed_of_test(int64_t number) { return random_bits(kTestSeed, static_cast<uint64_t>(number)); }

}  // namespace clearhead::tasks
