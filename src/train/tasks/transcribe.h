// The text of a sound, by a network that writes. Sounds of a table stand alone, or several of one speaker are joined with pauses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clearhead/data.h"
#include "train/task.h"

namespace clearhead {

std::unique_ptr<Task> transcribe_task(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& facts);
/// The texts of the training sounds, in one line.
std::vector<std::string> transcribed_texts(const Recipe& recipe);

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
