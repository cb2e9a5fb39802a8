// The rules on the next token, as a list of steps that change the scores of all tokens in turn.
//
//   LogitRules rules(options.rules, {.stop_ids, .source, .prompt_tokens, .max_tokens});
//   rules.apply(tokens so far, scores, vocabulary);
//
// Scores are logits in greedy decoding and sampling, and log-probabilities in a beam search with rules that scale scores,
// as in transformers. Other rules give the same tokens on either.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "clearhead/generate.h"

namespace clearhead {

/// Throws kInvalidArgument for values outside the ranges in generate.h.
void validate(const GenerationRules& rules);

class LogitRules {
 public:
  /// Properties of the text to generate that the rules need.
  struct Text {
    std::vector<int32_t> stop_ids{};
    std::vector<int32_t> source{};  ///< tokens of the source; for a causal model, the prompt
    int64_t prompt_tokens = 0;
    int64_t max_tokens = 0;  ///< new tokens
  };
  LogitRules(const GenerationRules& rules, const Text& text);

  bool empty() const { return steps_.empty(); }
  /// True if a rule multiplies or divides scores, so that logits and log-probabilities give different results.
  bool scales() const { return scales_; }
  /// `seen`: the prompt, or an encoder-decoder's first token, and the new tokens. `certain`: the score to give to a forced token, so
  /// that its probability is 1: 0 if scores are log-probabilities, the log-sum-exp of the row if they are logits. It does not change the
  /// choice.
  void apply(const std::vector<int32_t>& seen, float* scores, int64_t vocabulary, float certain = 0) const;

 private:
  struct Scores {
    const std::vector<int32_t>& seen;
    float* values;
    int64_t vocabulary;
    float certain;
    void ban(int32_t id) const;
    void force(const std::vector<int32_t>& ids) const;
    void penalise(const std::vector<int32_t>& ids, float penalty) const;
  };
  void add_penalties(const GenerationRules& rules, const Text& text);
  void add_repeats(const GenerationRules& rules, const Text& text);
  void add_lengths(const GenerationRules& rules, const Text& text);
  void add_suppressed(const GenerationRules& rules, const Text& text);

  std::vector<std::function<void(const Scores&)>> steps_{};
  bool scales_ = false;
};

}  // namespace clearhead
