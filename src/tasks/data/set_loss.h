// The loss of a detector that predicts a set of objects (Carion et al. 2020, §3.1).
//
//   Σ_n w_n·(−ln p_n(c_n)) + Σ_{matched n} (λ_box·‖b_n − b̂_n‖₁ + λ_overlap·(1 − GIoU(b_n, b̂_n)))
//
// Queries n are matched with the objects so that Σ (−λ_class·p_n(c) + λ_box·‖·‖₁ − λ_overlap·GIoU) is smallest (metrics/assignment.h). A
// matched query has the class of its object and w = 1; any other has "no object" and w = no_object.
#pragma once

#include <cstdint>
#include <vector>

#include "metrics/detection.h"

namespace clearhead::tasks {

struct SetLossOptions {
  double class_cost = 1, box = 5, overlap = 2;
  double no_object = 0.1;
};

struct SetLoss {
  double value = 0;
  std::vector<float> gradient{};    // with respect to the outputs, [query, classes + 1 + 4]
  std::vector<int64_t> query_of{};  // [object]
};

/// outputs: [query, classes + 1 + 4]: logits of the classes and of "no object", then a box as shares of the picture. Throws
/// kInvalidArgument for more objects than queries, and for outputs that are not finite.
SetLoss set_loss(const float* outputs, int64_t queries, int64_t classes, const std::vector<metrics::LabelledBox>& objects,
                 const SetLossOptions& options);

/// The box in a row of outputs.
metrics::Box box_of(const float* row, int64_t classes);

}  // namespace clearhead::tasks
