// Chooses the next token from logits.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "clearhead/generate.h"

namespace clearhead {

struct Drawn {
  int32_t id = 0;
  float probability = 0;  ///< softmax of the logits
};

/// Throws kInvalidArgument for values outside the ranges in generate.h.
void validate(const Sampling& sampling);

/// Scores of the next token: the model's logits, and the scores after the rules.
struct NextToken {
  const float* logits = nullptr;
  const float* scores = nullptr;
  int64_t vocabulary = 0;
};

/// Chooses by the scores. `index`: which random number of the seed's sequence to use. Throws kInvalidArgument if a score is NaN, or if the
/// rules left no token.
Drawn draw_token(const NextToken& next, const std::optional<Sampling>& sampling, uint64_t index);

}  // namespace clearhead
