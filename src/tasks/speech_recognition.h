// Speech recognition: the transcript of a sound. Examples are single sounds of a table, or several sounds of one speaker joined with
// pauses.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/data.h"
#include "tasks/recipe/task.h"

namespace clearhead::tasks {

/// A table of sounds and their transcripts; its first line names the columns.
struct SoundTable {
  std::string table{};
  std::string file{}, part{};  // columns: the sound's file, and its split, a value of TaskRecipe's train, valid or test
  std::string speaker{};       // column: the speaker; only sounds of one speaker are joined; empty: any sounds
  using Count = std::array<int64_t, 2>;
  Count joined{1, 1}, tested{1, 1};  // smallest and largest number of sounds in an example: in training and validation, and in --test
};

struct Transcript {
  Sound sound{};
  std::string text{};
};
/// The test examples: every sound of the recipe's test split, and the same number of joined sequences of these sounds.
struct TestTranscripts {
  std::vector<Transcript> alone{}, joined{};
};
/// Throws whatever reading the table and its sounds throws.
TestTranscripts test_transcripts(const Recipe& recipe);

}  // namespace clearhead::tasks
