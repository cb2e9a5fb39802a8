// Bounds on the difference between a backend's results and the oracle's row, derived from the accuracy of the scores.
//
// A score may be off by δ = 4εS (tolerance.h), a weight by P·1e-6 plus weight_error (oracle.h), and a sum over weights by the sum of these.
#pragma once

#include <vector>

#include "backends/oracle.h"
#include "clearhead/spec.h"

namespace clearhead::conformance {

struct RowBounds {
  std::vector<double> weights{};  // [key]
  std::vector<double> out{};      // [d_v]; empty if the row has no output
  double row_sum = 0;
  double m = 0, l = 0, threshold = 0;
  double score = 0;
};

/// v is undefined if the keys are pages.
RowBounds bounds_of(const AttentionSpec& spec, const OracleRow& row, const Keys& keys, const Tensor& v, int64_t batch, int64_t key_head);

}  // namespace clearhead::conformance
