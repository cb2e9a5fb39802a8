// A room of 4 × 4 cells with a key and two doors, of which the agent sees the 3 × 3 cells around it and its last action. It must find the
// key, which is red or blue, and leave by the door of that colour. It does not see what it carries, so the colour is in its past.
//
//   rewards: +1 for leaving by the correct door, −1 for the other one; +0.3 for the key; −0.1 for walking into a wall or a door without
//   the key; −0.01 for each other step
#include <array>
#include <cstdlib>

#include "base/random.h"
#include "tasks/environments/environment.h"

namespace clearhead::tasks {
namespace {

constexpr int kSide = 4, kDoors[] = {0, kSide - 1};  // the columns of the doors, which are in the wall above row 0
enum Colour : uint8_t { kRed, kBlue };
constexpr std::array<std::array<int, 2>, 4> kMoves = {{{-1, 0}, {1, 0}, {0, -1}, {0, 1}}};  // {rows, columns}: north, south, west, east
const char* const kActions[] = {"north", "south", "west", "east"};

class KeyDoor final : public World {
 public:
  explicit KeyDoor(uint64_t seed) {
    RandomSequence random(seed);
    key_colour_ = random.roll(2) == 0 ? kRed : kBlue;
    first_door_ = random.roll(2) == 0 ? kRed : kBlue;
    const size_t cells = kSide * kSide, agent = random.roll(cells), key = (agent + 1 + random.roll(cells - 1)) % cells;
    row_ = static_cast<int>(agent) / kSide, column_ = static_cast<int>(agent) % kSide;
    key_row_ = static_cast<int>(key) / kSide, key_column_ = static_cast<int>(key) % kSide;
  }

  std::string observe() const override {
    std::string out;
    for (int row = row_ - 1; row <= row_ + 1; ++row) {
      for (int column = column_ - 1; column <= column_ + 1; ++column) out += word_at(row, column) + std::string(" ");
    }
    return out + last_;
  }
  bool shows_cue() const override { return shows_key() && std::abs(key_row_ - row_) <= 1 && std::abs(key_column_ - column_) <= 1; }

  Transition act(size_t action) override {
    is_on_key_ = false;
    last_ = kActions[action];
    const int row = row_ + kMoves[action][0], column = column_ + kMoves[action][1];
    if (is_door(row, column) && has_key_) {
      succeeded_ = door_at(column) == key_colour_;
      return {.reward = succeeded_ ? 1.0 : -1.0, .is_over = true};
    }
    if (!is_floor(row, column)) return {.reward = -0.1};
    row_ = row;
    column_ = column;
    if (has_key_ || row_ != key_row_ || column_ != key_column_) return {.reward = -0.01};
    has_key_ = is_on_key_ = true;
    return {.reward = 0.3};
  }
  bool succeeded() const override { return succeeded_; }

  // @ is the agent; r or b the key, R and B the doors.
  std::vector<std::string> board() const override {
    std::vector<std::string> out;
    for (int row = -1; row <= kSide; ++row) {
      std::string line;
      for (int column = -1; column <= kSide; ++column) {
        const bool is_agent = row == row_ && column == column_, is_key = !has_key_ && row == key_row_ && column == key_column_;
        line += is_agent                ? '@'
                : is_key                ? (key_colour_ == kRed ? 'r' : 'b')
                : is_door(row, column)  ? (door_at(column) == kRed ? 'R' : 'B')
                : is_floor(row, column) ? '.'
                                        : '#';
      }
      out.push_back(std::move(line));
    }
    return out;
  }

 private:
  static bool is_floor(int row, int column) { return row >= 0 && row < kSide && column >= 0 && column < kSide; }
  static bool is_door(int row, int column) { return row == -1 && (column == kDoors[0] || column == kDoors[1]); }
  Colour door_at(int column) const { return (column == kDoors[0]) == (first_door_ == kRed) ? kRed : kBlue; }
  // The key is seen until the agent takes it, and in the step in which it does.
  bool shows_key() const { return !has_key_ || is_on_key_; }

  const char* word_at(int row, int column) const {
    if (shows_key() && row == key_row_ && column == key_column_) return key_colour_ == kRed ? "redkey" : "bluekey";
    if (is_door(row, column)) return door_at(column) == kRed ? "reddoor" : "bluedoor";
    return is_floor(row, column) ? "floor" : "wall";
  }

  int row_ = 0, column_ = 0, key_row_ = 0, key_column_ = 0;
  Colour key_colour_ = kRed, first_door_ = kRed;
  bool has_key_ = false, is_on_key_ = false, succeeded_ = false;
  const char* last_ = "start";
};

}  // namespace

const Environment& key_door_environment() {
  static const Environment environment = {
      .name = "key-door",
      .actions = {std::begin(kActions), std::end(kActions)},
      .words = {"wall", "floor", "redkey", "bluekey", "reddoor", "bluedoor", "start", "north", "south", "west", "east"},
      .words_per_step = 10,
      .board = {.rows = 3,
                .columns = 3,
                .colours = {{"wall", {70, 70, 70}},  // keys and doors: the colours of Okabe and Ito 2008, doors darker
                            {"floor", {228, 228, 228}},
                            {"redkey", {230, 130, 60}},
                            {"bluekey", {86, 180, 233}},
                            {"reddoor", {190, 70, 0}},
                            {"bluedoor", {0, 90, 160}}}},
      .max_steps = 32,
      .start = [](uint64_t seed) -> std::unique_ptr<World> { return std::make_unique<KeyDoor>(seed); },
  };
  return environment;
}

}  // namespace clearhead::tasks
