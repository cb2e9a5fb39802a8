// Assigns lines to folds by a hash of their text.
#include "tasks/data/folds.h"

#include <utility>

#include "base/hash.h"

namespace clearhead::tasks {

uint64_t hash_of(const LabelledLine& line) {
  std::string all = line.pair.empty() ? line.text : line.text + "\n" + line.pair;
  if (line.input) {
    for (const std::string& text : line.input->texts) all += (all.empty() ? "" : "\n") + text;
  }
  Digest digest;
  digest.add(all.data(), all.size());
  return digest.value();
}

std::vector<LabelledLine> read_fold(const std::string& part, const Recipe& recipe, LeftOut* left_out) {
  const FoldRecipe& folds = *recipe.task->data.folds;
  Recipe by_file = recipe;
  by_file.task->data.folds.reset();
  std::vector<LabelledLine> out;
  const auto count = static_cast<uint64_t>(folds.count), held_out = static_cast<uint64_t>(folds.hold_out);
  for (const std::string& file : folds.files) {
    for (LabelledLine& line : read_lines(file, by_file, left_out)) {
      const uint64_t after = (hash_of(line) % count + count - held_out) % count;
      if (part == (after == 0 ? "test" : after == 1 && folds.validates ? "valid" : "train")) out.push_back(std::move(line));
    }
  }
  return out;
}

}  // namespace clearhead::tasks
