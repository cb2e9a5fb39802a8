// The text of a sound, by a network that writes. Sounds of a table stand alone, or several of one speaker are joined with pauses.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/data.h"
#include "train/task.h"

namespace clearhead {

/// A table of sounds and their texts; its first line names the columns.
struct SoundTable {
  std::string table{};
  std::string file{}, part{};  // columns: the sound's file, and its part; TaskRecipe's train, valid and test name the parts
  std::string speaker{};       // column; only sounds of one speaker are joined; empty: any
  using Count = std::array<int64_t, 2>;
  Count joined{1, 1}, tested{1, 1};  // least and largest number of sounds in an example: in training, and in those that --test measures
};

struct Transcript {
  Sound sound{};
  std::string text{};
};
/// What a model is measured on: every sound of the recipe's test part, and as many strings of them.
struct TestTranscripts {
  std::vector<Transcript> alone{}, joined{};
};
/// Throws what reading the table and its sounds throws.
TestTranscripts test_transcripts(const Recipe& recipe);

}  // namespace clearhead
