// How heads form: traces of the same texts, taken at steps of a run.
//
//   RUN/watch/step-NNNNNN.trace     after n of n_max updates, n = n_max · (i/(c − 1))², i = 0 … c − 1: early steps are close together, the last is the last
//
// All texts go through the model in one run, side by side: a token sees none of another text, and positions begin again with each. The texts are the
// trace's segments. What a trace holds follows from the weights and the recipe alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clearhead/tokenizer.h"
#include "clearhead/trace.h"
#include "models/transformer.h"
#include "train/recipe.h"

namespace clearhead {

class Watch {
 public:
  /// Throws kInvalidArgument for a text that is empty or longer than the model's positions, and for more than 512 tokens in all.
  Watch(const Recipe& recipe, const Architecture& facts, const Tokenizer& tokenizer);

  bool is_due(int64_t step) const;
  Trace look(const Transformer& transformer, Arena& arena, int64_t step) const;
  static std::string folder_of(const std::string& directory) { return directory + "/watch"; }
  static std::string file_of(const std::string& directory, int64_t step);

 private:
  int64_t add_text(const std::string& text, const Tokenizer& tokenizer);
  std::vector<int64_t> steps_{};  // ascending
  RunPlan plan_{};
  std::vector<int32_t> positions_{};  // [token] in its text
  ForwardInput input_{};
};

}  // namespace clearhead
