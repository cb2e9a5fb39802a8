// A corridor whose cue lies in the past, the T-maze of Bakker 2002: a sign at the start shows "left" or "right", then come 4 to 12 cells that
// look the same, and at the junction the agent must turn to the side that the sign showed. Without memory, half of the turns are correct.
//
//   rewards: +1 for the correct turn, −1 for the other one; −0.1 for walking into a wall
#include "base/random.h"
#include "tasks/environments/environment.h"

namespace clearhead::tasks {
namespace {

constexpr size_t kShortest = 4, kLongest = 12;  // cells between the cue and the junction
enum Action : uint8_t { kForward, kLeft, kRight };

class Corridor final : public World {
 public:
  explicit Corridor(uint64_t seed) {
    RandomSequence random(seed);
    goal_ = random.roll(2) == 0 ? kLeft : kRight;
    junction_ = 1 + kShortest + random.roll(kLongest - kShortest + 1);
  }
  std::string observe() const override {
    if (place_ == 0) return goal_ == kLeft ? "sign left" : "sign right";
    return place_ < junction_ ? "corridor ahead" : "junction ahead";
  }
  bool shows_cue() const override { return place_ == 0; }
  Transition act(size_t action) override {
    const bool is_junction = place_ == junction_;
    if (is_junction == (action == kForward)) return {.reward = -0.1};
    if (!is_junction) {
      ++place_;
      return {};
    }
    turned_ = static_cast<Action>(action);
    return {.reward = succeeded() ? 1.0 : -1.0, .is_over = true};
  }
  bool succeeded() const override { return turned_ == goal_; }
  // @ is the agent, ? the sign, + the junction, G the goal, x the other end.
  std::vector<std::string> board() const override {
    std::string row = "?" + std::string(junction_ - 1, '.') + "+";
    row[place_] = '@';
    const std::string before(junction_, ' ');
    return {before + (goal_ == kLeft ? "G" : "x"), row, before + (goal_ == kLeft ? "x" : "G")};
  }

 private:
  size_t place_ = 0, junction_ = 0;
  Action goal_ = kLeft, turned_ = kForward;
};

}  // namespace

const Environment& corridor_environment() {
  static const Environment environment = {
      .name = "corridor",
      .actions = {"forward", "left", "right"},
      .words = {"sign", "left", "right", "corridor", "junction", "ahead"},
      .words_per_step = 2,
      .board = {.rows = 1,
                .columns = 2,
                .colours = {{"sign", {240, 228, 66}},  // the colours of Okabe and Ito 2008
                            {"left", {230, 159, 0}},
                            {"right", {0, 114, 178}},
                            {"corridor", {225, 225, 225}},
                            {"junction", {120, 120, 120}},
                            {"ahead", {225, 225, 225}}}},
      .max_steps = 40,
      .start = [](uint64_t seed) -> std::unique_ptr<World> { return std::make_unique<Corridor>(seed); },
  };
  return environment;
}

}  // namespace clearhead::tasks
