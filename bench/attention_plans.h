// What `bench attention` runs: each case by name, and how many pairs of query and key it needs.
//
//   forward/  backward/  sweep/      the call; linear_attention/… and pattern/… stand before those that are about one normaliser or topology
//   normaliser/  rule/  pair/  term/  against softmax, the built-in that says the same, or the plain dot product
//   look/                            one tile
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/spec.h"

namespace clearhead::bench {

enum class Kind : uint8_t { kForward, kBackward, kSweep, kAgainstSoftmax, kAgainstTwin };
struct Plan {
  std::string name{};
  Kind kind = Kind::kForward;
  int64_t batch = 1, heads = 8, key_heads = 8, length = 4096, d = 64;
  bool is_causal = false, in_pages = false;
  SweepRequest request{};
  bool by_default = true;
  AttentionSpec spec{};
  float query_size = 1;
  bool has_features = false;  // q and k are 0 or more
  AttentionSpec twin{};       // kAgainstTwin
  DType dtype = DType::kF32;
};

std::vector<Plan> attention_plans();
/// Multiplications and additions of one forward call: of the pairs that are visible, whatever is computed.
double forward_flops(const Plan& plan);

}  // namespace clearhead::bench
