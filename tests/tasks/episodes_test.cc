// Environments for reinforcement learning: their rules, and episodes that a policy plays in them.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "refused.h"
#include "tasks/data/episodes.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

size_t action_named(const Environment& environment, const std::string& name) {
  return static_cast<size_t>(std::find(environment.actions.begin(), environment.actions.end(), name) - environment.actions.begin());
}

TEST(Environments, SameSeedSameEpisodeAndOnlyDeclaredWords) {
  for (const Environment* environment : environments()) {
    const std::set<std::string> words(environment->words.begin(), environment->words.end());
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const auto one = environment->start(seed), other = environment->start(seed);
      bool is_over = false;
      for (size_t step = 0; step < 20 && !is_over; ++step) {
        std::istringstream observed(one->observe());
        EXPECT_EQ(one->observe(), other->observe());
        EXPECT_EQ(one->board(), other->board());
        int64_t count = 0;
        for (std::string word; observed >> word; ++count) {
          EXPECT_TRUE(words.contains(word)) << word;
          EXPECT_TRUE(count >= environment->board.rows * environment->board.columns || environment->board.colours.contains(word)) << word;
        }
        EXPECT_EQ(count, environment->words_per_step);
        const size_t action = (seed + step * 7) % environment->actions.size();
        is_over = one->act(action).is_over;
        other->act(action);
      }
    }
  }
}

TEST(Corridor, TurnTowardsTheSignSucceedsAndTheOtherTurnFails) {
  const Environment& corridor = environment_named("corridor", "test");
  for (const bool is_right : {true, false}) {
    const auto world = corridor.start(5);
    EXPECT_TRUE(world->shows_cue());
    const std::string side = world->observe() == "sign left" ? "left" : "right", other = side == "left" ? "right" : "left";
    EXPECT_EQ(world->act(action_named(corridor, "left")).reward, -0.1);  // a wall
    while (world->observe() != "junction ahead") EXPECT_EQ(world->act(action_named(corridor, "forward")).reward, 0);
    EXPECT_FALSE(world->shows_cue());
    EXPECT_EQ(world->act(action_named(corridor, "forward")).reward, -0.1);
    const Transition end = world->act(action_named(corridor, is_right ? side : other));
    EXPECT_TRUE(end.is_over);
    EXPECT_EQ(end.reward, is_right ? 1 : -1);
    EXPECT_EQ(world->succeeded(), is_right);
  }
}

TEST(KeyDoor, DoorOpensOnlyWithTheKey) {
  const Environment& room = environment_named("key-door", "test");
  int64_t without_key = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto world = room.start(seed);
    bool has_key = false;
    Transition now{};
    for (size_t step = 0; step < 7 && !now.is_over; ++step) {  // to the corner, then through the door in the west
      now = world->act(action_named(room, step < 3 ? "west" : "north"));
      has_key = has_key || now.reward == 0.3;
    }
    EXPECT_EQ(now.is_over, has_key);
    EXPECT_EQ(now.reward, !has_key ? -0.1 : world->succeeded() ? 1 : -1);
    without_key += has_key ? 0 : 1;
  }
  EXPECT_GT(without_key, 0);
  EXPECT_LT(without_key, 40);
}

TEST(Environments, UnknownNameIsRefusedWithTheKnownNames) {
  expect_refused(ErrorCode::kNotFound, "config.json: there is no environment \"chess\"; expected one of: corridor, key-door",
                 [] { environment_named("chess", "config.json"); });
}

}  // namespace
}  // namespace clearhead::tasks
