// One row of weights from the formula, in double: what "verify" holds the shown numbers against. It shares nothing with the kernels, and of the
// record it takes Q, K and the description, not the row statistics.
//
//   s_ij = scale·Σ_c q_ic·k_jc  →  each term in the order written  →  −∞ where hidden        P_ij = e^(s_ij − max) / Σ
#pragma once

#include <vector>

#include "clearhead/record.h"

namespace clearhead {

struct EagerRow {
  std::vector<double> weights{};  // [key] 0 where hidden
  double largest = 0;             // S_i: max over visible j of (scale·Σ|q||k| + Σ|term|): what rounding errors are measured in
};

/// `row` counts from the record's first kept row.
EagerRow eager_row(const AttentionRecord& record, int64_t head, int64_t row);

}  // namespace clearhead
