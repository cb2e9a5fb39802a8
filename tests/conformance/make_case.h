// Makes a case from words: one value per factor, as the covering lists them, a generator draws them, and a failing test prints them.
//
//   terms        "no terms", or terms joined by "+": "alibi", "soft_cap [CAP]", "dense FORM [transposed]", "rule NAME"
//   band         "full" · "causal end|start" · "causal back N" · "window BACK AHEAD [start]", "-" for no limit
//   segments     "no segments" · "documents [1]" · "key padding" · "negative ids"
//   mask         "no mask" · "mask FORM [transposed]"
//   lists        "no lists" · "edges [b][h] [with bias [first]]" · "blocks QxK [b][h] [with bias [first]]"
//   visibility   "no visibility" · "visible NAME" · "visible expression DEPTH"
//   normaliser   "softmax" · "sinks" · "sparsemax" · "entmax15" · "sigmoid" · "hard" · "hard, drawn" · "linear"; a
//                hard choice's gradient is "through" the choice or "scored"; default: "through" for the best key, "scored" for a drawn one
//   after        "nothing after", or some of "dropout", "head mask", "gaussian"
//   pair         "scale null|S" · "additive tanh|leaky_relu [h]" · "relative reach N [h] [queries] [query_bias] [values] [all] [scale S]"
//   sizes        "heads H/K" · "d K/V" · "QxK" · layout · "batch N" · "sizes DEVIATION" of q · "f32|bf16|f16"
//
// FORM names the axes that are not broadcast: "bhqk", "1hqk", "11qk" … Words are separated by spaces and commas.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cases.h"

namespace clearhead::conformance {

enum Factor : size_t {
  kTerms,
  kBand,
  kSegments,
  kMask,
  kLists,
  kVisibility,
  kNormaliser,
  kAfter,
  kPair,
  kHeads,
  kWidths,
  kLengths,
  kLayout,
  kBatch,
  kSizes,
  kDType,
  kFactorCount
};

/// One value per factor, in the order of Factor.
using Values = std::vector<std::string>;

/// The plainest value of each factor, except for those given: {{kTerms, "alibi"}, {kLengths, "200x300"}}.
Values plain_but(const std::vector<std::pair<Factor, std::string>>& some);

/// The name of a case: "alibi | causal end | … | f32".
std::string joined(const Values& values);
/// The inverse of joined(). Throws kInvalidArgument if the number of values is not kFactorCount.
Values split(const std::string& name);

/// The case with these values. Its tensors depend only on the values and the seed.
Case make_case(const Values& values, uint32_t seed);

/// The shape that a case's values describe.
AttentionShape shape_of(const Values& values);

}  // namespace clearhead::conformance
