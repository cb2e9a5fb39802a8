// How heads form: traces of the same texts, taken at steps of a run.
//
//   RUN/watch/step-NNNNNN.trace     after n of n_max updates, n = n_max · (i/(c − 1))², i = 0 … c − 1: early steps are close together, the last is the last
//
// All texts go through the model in one run, side by side: a token sees none of another text, and positions begin again with each. The texts are the
// trace's segments. An encoder-decoder is watched on pairs, source and target with a tab between as in its data: the sources stand side by side, behind
// them the targets, each led by the model's first token. What a trace holds follows from the weights and the recipe alone.
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
  /// Throws kInvalidArgument for a text that is empty or longer than the model's positions, for what is no pair where pairs are wanted, and for more than
  /// 512 tokens in all.
  Watch(const Recipe& recipe, const Architecture& facts, const Tokenizer& tokenizer);

  bool is_due(int64_t step) const;
  Trace look(const Transformer& transformer, Arena& arena, int64_t step) const;
  static std::string folder_of(const std::string& directory) { return directory + "/watch"; }
  static std::string file_of(const std::string& directory, int64_t step);

 private:
  /// Texts side by side, as one stack reads them.
  struct Side {
    RunText text{};
    std::vector<int32_t> positions{}, documents{};  // [token] in its text, of which text
    int64_t tokens() const { return static_cast<int64_t>(documents.size()); }
    ForwardInput input() const;
  };
  /// first: a token that leads each text, or none   where: the recipe, for messages
  static Side side_of(const std::vector<std::string>& texts, const char* name, std::optional<int32_t> first, const Tokenizer& tokenizer);
  static void check_lengths(const Side& side, const Architecture& facts, const std::string& where);
  RunPlan plan_of(const Transformer& transformer) const;

  std::vector<int64_t> steps_{};  // ascending
  std::optional<Side> source_{};  // of an encoder-decoder
  Side side_{};
};

}  // namespace clearhead
