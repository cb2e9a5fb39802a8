// What `bench attention` runs under the limit of multiplying: each case by name, and what it has to multiply.
//
//   forward/ backward/                   full, causal, with a term (against the plain call), and by topology (attention_patterns.cc, attention_choices.cc);
//                                        linear_attention/…
//   choose/                              keys chosen by content, before they are attended to
//   sweep/ look/                         statistics of whole maps, against the forward; one tile of weights
//   normaliser/ rule/ pair/              against softmax, the built-in that says the same, the dot product
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/spec.h"

namespace clearhead::bench {

enum class Kind : uint8_t { kForward, kBackward, kSweep, kTile, kAgainstSoftmax, kAgainstTwin, kChoose };
struct Plan {
  std::string name{};
  Kind kind = Kind::kForward;
  int64_t batch = 1, heads = 8, key_heads = 8, length = 4096, d = 64;
  bool is_causal = false, in_pages = false;
  ReductionRequest request{};
  bool by_default = true;
  AttentionSpec spec{};
  float query_size = 1;
  bool has_features = false;  // q and k are 0 or more
  AttentionSpec twin{};       // kAgainstTwin
  bool gives_sums = false;    // entropy and distance of every row, beside out: kAgainstTwin, which gives none
  DType dtype = DType::kF32;
  bool heads_inside = false;                                        // memory is [batch, length, head, d]
  std::function<int64_t(int64_t)> seen{};                           // keys that a query sees, where the band does not say it
  std::function<void(Plan&)> prepare{};                             // makes operands too large to be made before they are wanted
  std::function<Lists(const Tensor& q, const Tensor& k)> choose{};  // by content: the lists that are attended to, or that kChoose times
  double choice_flops = 0;                                          // of kChoose
};
inline constexpr int64_t kTileSide = 256;  // of kTile

std::vector<Plan> attention_plans();
/// forward/f32/SHAPE_NAME/hHEADS/nLENGTH/dD
Plan forward_plan(const std::string& shape_name, int64_t heads, int64_t length, int64_t d, bool is_causal, bool by_default);
void add_pattern_plans(std::vector<Plan>& plans);
void add_choice_plans(std::vector<Plan>& plans);
/// Multiplications and additions of one forward call: of the pairs that are visible, whatever is computed.
double forward_flops(const Plan& plan);

}  // namespace clearhead::bench
