// Attribution of one answer to the parts of the input, by methods of the literature (methods/). Whole maps are multiplied with a vector
// (map.h), so no N×N matrix is stored, except by methods that limit the length.
//
//   r is a vector over tokens. It starts as 1/n at the n rows from which the answer is read; layers are visited from last to first.
//   y is the explained number (attribution_target.h), P a map, and x⁺ = max(0, x).
//   Cross-attention connects a decoder to its source: rollout halves r again, relevance follows eq. 8 to 11 of Chefer et al. 2021.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "explain/attribution_target.h"

namespace clearhead::explain {

struct AttributionOptions;

/// An attribution method. Each is one file in methods/.
struct Method {
  int order = 0;                    ///< position in lists
  const char* name = "";            ///< "attention", "rollout", …
  const char* what = "";            ///< a one-line description for users
  bool needs_gradients = false;     ///< needs a model loaded with LoadOptions::gradients
  bool of_a_layer = false;          ///< uses a single layer: AttributionOptions::layer
  bool of_heads = false;            ///< can use a single head: AttributionOptions::head
  bool takes_steps = false;         ///< uses AttributionOptions::steps
  bool of_inputs = false;           ///< uses the gradients of embeddings, not of attention
  bool removes_items = false;       ///< runs the model without items, as AttributionOptions::removal says
  bool is_for_short_texts = false;  ///< refuses long texts
  /// A share for each position in plan().text.ids; attribute() sums them over items. Null: `of_items` is set.
  std::vector<double> (*of_ids)(const AttributionTarget& target, const AttributionOptions& options) = nullptr;
  /// A share for each item.
  std::vector<double> (*of_items)(const AttributionTarget& target, const AttributionOptions& options) = nullptr;
  /// The number of runs of the model; with needs_gradients, each is forward and back. Null: one.
  int64_t (*runs)(const AttributionTarget& target, const AttributionOptions& options) = nullptr;
};
/// All methods, in the order of lists.
const std::vector<Method>& attribution_methods();
/// Throws kNotFound, with the names that exist.
const Method& method_named(const std::string& name);

struct AttributionOptions {
  std::optional<int> layer{};              ///< for methods that use a single layer (Method::of_a_layer); absent: the last layer
  std::optional<int64_t> head{};           ///< for methods that can use a single head (Method::of_heads); absent: the mean over all heads
  int64_t steps = 32;                      ///< for integrated gradients: number of intervals, evaluated at their midpoints
  RemovedBy removal = RemovedBy::kUnseen;  ///< for methods that remove items
  std::function<void(double fraction)> progress{};
  const std::atomic<bool>* cancel = nullptr;  ///< occlusion then returns a partial result, NaN for the rest; others throw kCancelled
};

/// Throws kInvalidArgument if a layer or a head is set that none of these methods uses (the message names the methods that do), or a layer
/// that the model does not have.
void check_used(const AttributionOptions& options, const std::vector<Method>& methods, const AttributionTarget& target);

/// Returns a share for each item of the target: the sum over its tokens, not normalised. Larger values are stronger evidence for
/// the answer. Signed methods give negative shares to evidence against it. Throws kUnsupported, with the reason, if the model does not
/// have what the method needs; kInvalidArgument for a layer or head that does not exist; kBudget for a text that is too long for the method.
std::vector<double> attribute(const AttributionTarget& target, const Method& method, const AttributionOptions& options = {});

/// The cost of a method in runs of the model, for an estimate before the computation starts. A backward pass counts as two runs.
int64_t runs_of(const AttributionTarget& target, const Method& method, const AttributionOptions& options = {});

}  // namespace clearhead::explain
