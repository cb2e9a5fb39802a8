// Memory-bound cases: decoding over tensors and pages of every dtype, linear layers for one token, and attention along the edges of a
// graph.
//
// Copies of the operands rotate, so that nothing is in a cache. Pairs are explained in attention.h; each speed mode of the memory is
// reported separately.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "bench/attention.h"

namespace clearhead::bench {

struct BandwidthPlan {
  enum class Kind : uint8_t { kDecode, kLinear, kGraph };
  std::string name{};
  Kind kind = Kind::kDecode;
  bool by_default = true;
  // kDecode: one sequence.
  int64_t heads = 32, key_heads = 8, queries = 1, length = 4096, d = 64;
  bool in_pages = true;
  DType dtype = DType::kF32, query_dtype = DType::kF32;  // dtype: of the pages
  // kLinear: one row.
  int64_t in = 0, out = 0;
  WeightStorage storage = WeightStorage::kF32;
  // kGraph: number of nodes, each with this many random neighbours; d is the width of the values.
  int64_t neighbours = 0;
  bool is_gradient = false;
};

std::vector<BandwidthPlan> bandwidth_plans();
AttentionCase run_bandwidth(const BandwidthPlan& plan, const Backend& backend, const AttentionOptions& options);

/// f32 with variance 1. Fast; not an exact normal distribution.
Tensor random_tensor(Shape shape, uint32_t seed);

}  // namespace clearhead::bench
