// The compute-bound cases of `bench attention`: their names and their arithmetic work.
//
//   forward/ backward/                   full, causal, with a term (against the plain call), and by topology (attention_patterns.cc, attention_choices.cc);
//                                        linear_attention/…
//   choose/                              selecting keys by content, before attention
//   sweep/ look/                         statistics of whole maps, relative to the forward; one tile of weights
//   normaliser/ rule/ pair/              relative to softmax, the equivalent built-in, the dot product
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
  bool has_features = false;  // q and k are nonnegative
  AttentionSpec twin{};       // kAgainstTwin
  bool gives_sums = false;    // also computes entropy and distance of every row; `twin` computes neither
  DType dtype = DType::kF32;
  bool heads_inside = false;               // memory is [batch, length, head, d]
  std::function<int64_t(int64_t)> seen{};  // number of keys that a query sees, if it does not follow from the band
  std::function<void(Plan&)> prepare{};    // creates operands that are too large to be created in advance
  std::function<BlockSparse(const Tensor& q, const Tensor& k)>
      choose{};             // selects lists by content, for attention or as the timed work of kChoose
  double choice_flops = 0;  // for kChoose
};
inline constexpr int64_t kTileSide = 256;  // for kTile

std::vector<Plan> attention_plans();
/// forward/f32/SHAPE_NAME/hHEADS/nLENGTH/dD
Plan forward_plan(const std::string& shape_name, int64_t heads, int64_t length, int64_t d, bool is_causal, bool by_default);
void add_pattern_plans(std::vector<Plan>& plans);
void add_choice_plans(std::vector<Plan>& plans);
/// Multiplications and additions of one forward call, counting only visible pairs.
double forward_flops(const Plan& plan);

}  // namespace clearhead::bench
