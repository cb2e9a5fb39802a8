// Shows how heads form: traces of the same texts, taken at several steps of a run.
//
//   RUN/watch/step-NNNNNN.trace     after n of n_max updates, n = n_max · (i/(c − 1))², i = 0 … c − 1, for c traces
//                                   (WatchRecipe::checkpoints): dense at the start, and the last trace at the last step
//
// All texts are packed into one run: a token sees only its own text, and positions restart with each text. The texts are
// the segments of the trace. An encoder-decoder is watched on pairs, source and target separated by a tab as in its data;
// the sources are packed into one sequence, and the targets into another, each target after the model's start token. A
// trace depends only on the weights and the recipe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clearhead/tokenizer.h"
#include "clearhead/trace.h"
#include "models/transformer.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::train {

/// The steps at which traces are taken, ascending.   last: the run's last step
std::vector<int64_t> watched_steps(int64_t checkpoints, int64_t last);

class Watch {
 public:
  /// Throws kInvalidArgument for a text that is empty or longer than the model's positions, for a text that is not a
  /// pair if pairs are needed, and for more than 512 tokens in all.
  Watch(const tasks::Recipe& recipe, const Architecture& facts, const Tokenizer& tokenizer);

  bool is_due(int64_t step) const;
  Trace look(const Transformer& transformer, Arena& arena, int64_t step) const;
  static std::string folder_of(const std::string& directory) { return directory + "/watch"; }
  static std::string file_of(const std::string& directory, int64_t step);

 private:
  /// Packed texts, as the encoder or the decoder reads them.
  struct Side {
    RunText text{};
    std::vector<int32_t> positions{}, documents{};  // [token] position in its text; number of its text
    int64_t tokens() const { return static_cast<int64_t>(documents.size()); }
    ForwardInput input() const;
  };
  /// first: a token put before each text, or none.   where: the recipe, for messages
  static Side side_of(const std::vector<std::string>& texts, const char* name, std::optional<int32_t> first, const Tokenizer& tokenizer);
  static void check_lengths(const Side& side, const Architecture& facts, const std::string& where);
  RunPlan plan_of(const Transformer& transformer) const;

  std::vector<int64_t> steps_{};  // ascending
  std::optional<Side> source_{};  // only for an encoder-decoder
  Side side_{};
};

}  // namespace clearhead::train
