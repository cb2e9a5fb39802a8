// Losses on attention maps that a recipe adds to the loss of its task. They are computed by differentiable ops that store no map
// (ops::attention_log_weights, ops::attention_entropy).
//
//   alignment    −1/R Σ_i Σ_j A_ij ln(1/H Σ_h P_ij^h)     over the R target rows i that have a gold alignment; A_ij = 1/n
//                                                         for the n source tokens that the token of row i is aligned with
//   entropy      mean of −Σ_j P_ij ln P_ij in nats        over real rows (not padding), heads and layers
//
// Guided alignment: Chen, Matusov, Khadivi & Peter 2016, the alignment cost G(A, α) as a cross-entropy. Their α, of a single
// recurrent attention, is here the mean of a layer's heads. Row i is the one that predicts token i of the target. Both losses are
// means over all rows of a step, as if its batches were one: a batch adds its sum, divided by the rows of the whole step.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ops/run.h"
#include "tasks/recipe/recipe.h"
#include "tasks/recipe/task.h"

namespace clearhead::train {

class MapLosses {
 public:
  /// The recipe must outlive this object. Throws kUnsupported if the recipe combines such a loss with gradient checkpointing.
  explicit MapLosses(const tasks::Recipe& recipe);
  /// The names of the losses that the recipe has: "alignment", "entropy".
  std::vector<std::string> names() const;
  bool any() const { return recipe_.alignment || recipe_.entropy; }
  /// Number of rows of a batch that each loss is a mean over, in the order of names().
  std::vector<double> rows_of(const tasks::Example& example) const;

  /// Captures the attention calls of one forward pass that the losses read.
  class Captured {
   public:
    explicit Captured(const tasks::Recipe& recipe);
    AttentionCapture* capture() { return &capture_; }

   private:
    friend class MapLosses;
    AttentionCapture capture_{};
    std::set<std::pair<std::string, int>> sites_{};  // all families and layers of the model, for messages
  };

  /// Returns loss + Σ weight·value, recorded for the backward pass. Each value is this batch's share of the step's mean; appends them to
  /// `values`.
  /// loss: [1]   rows: rows_of() summed over all batches of the step
  /// Throws kInvalidArgument for a family or layer that the model does not have, and kUnsupported for attention to which the
  /// formulas do not apply, naming the field.
  Tensor add_to(Run& run, const Tensor& loss, const Captured& captured, const tasks::Example& example, std::span<const double> rows,
                std::vector<double>& values) const;

 private:
  Tensor alignment(Run& run, const Captured& captured, const tasks::Example& example, double rows) const;
  Tensor entropy(Run& run, const Captured& captured, const tasks::Example& example, double rows) const;
  const Batch& entropy_rows(const tasks::Example& example) const;
  std::vector<const CapturedAttention*> calls(const Captured& captured, const char* field, const std::string& family,
                                              const std::vector<int64_t>& layers) const;
  template <class F>
  Tensor of_field(const char* field, F&& compute) const;
  const tasks::Recipe& recipe_;
};

}  // namespace clearhead::train
