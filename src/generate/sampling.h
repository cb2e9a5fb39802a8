// Chooses the next token from logits.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "clearhead/generate.h"

namespace clearhead {

struct Drawn {
  int32_t id = 0;
  float probability = 0;  ///< softmax of the logits as given
};

/// Throws kInvalidArgument for values outside the ranges in generate.h.
void validate(const Sampling& sampling);

/// `seen`: all tokens so far, for the repetition penalty. `index`: which random number of the seed to use. Throws
/// kInvalidArgument if a logit is NaN.
Drawn draw_token(const float* logits, int64_t vocabulary, const std::optional<Sampling>& sampling, const std::vector<int32_t>& seen,
                 uint64_t index);

}  // namespace clearhead
