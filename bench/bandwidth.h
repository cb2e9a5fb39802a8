// Cases that memory bounds: decoding over tensors and pages of every type, the linear layers of one token, and attention along a graph's edges.
//
// Copies of the operands rotate so that nothing is found in a cache. Pairs: attention.h says how; each mode of the memory is told by itself.
#pragma once

#include <string>
#include <vector>

#include "backends/contract.h"
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
  // kGraph: nodes, each with so many neighbours anywhere; d is the values' width.
  int64_t neighbours = 0;
  bool is_gradient = false;
};

std::vector<BandwidthPlan> bandwidth_plans();
AttentionCase run_bandwidth(const BandwidthPlan& plan, const Backend& backend, const AttentionOptions& options);

/// f32, ordinary numbers of variance 1. Fast, and good enough for values that only have to be ordinary.
Tensor random_tensor(Shape shape, uint32_t seed);

}  // namespace clearhead::bench
