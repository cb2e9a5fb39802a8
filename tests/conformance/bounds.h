// How far what a backend gives may be from the oracle's row, by what its scores can be known to.
//
// A score is off by δ = 4εS at most (tolerance.h); a weight then by P·1e-6 and weight_error (oracle.h); a sum over weights by the sum of these.
#pragma once

#include <vector>

#include "backends/oracle.h"
#include "clearhead/spec.h"

namespace clearhead::conformance {

struct RowBounds {
  std::vector<double> weights{};  // [key]
  std::vector<double> out{};      // [d_v]; empty where the row has no out
  double row_sum = 0;
  double m = 0, l = 0, threshold = 0;
  double score = 0;
};

/// v is undefined where the keys are pages.
RowBounds bounds_of(const AttentionSpec& spec, const OracleRow& row, const Keys& keys, const Tensor& v, int64_t batch, int64_t key_head);

}  // namespace clearhead::conformance
