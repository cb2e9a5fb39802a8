// Shared by questions about weights: the head, weight kind and sink rule of a question; the checks that throw if the trace does not contain
// what a question needs; the attention that sinks take from a row.
//
//   shown_ij = X_ij · norm_j · (0 at sinks, unless they are only marked) / (1 − Σ_{j∈sinks} P_ij, when renormalising)
//
// X is P or a gradient quantity, and norm is ‖v‖, ‖v·W_O‖ or 1 (WeightKind). A mean of heads is the mean of what is shown for each of them;
// a pair that a head cannot see counts as 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/trace.h"
#include "observe/picture.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

/// The quantity that is shown for a weight P. The last eight need a trace with the gradients of an answer y.
enum class WeightKind : uint8_t {
  kRaw,       ///< P
  kValue,     ///< P·‖v‖
  kOutput,    ///< P·‖v·W_O‖
  kFor,       ///< max(0, P·∂y/∂P): evidence for y
  kAgainst,   ///< max(0, −P·∂y/∂P)
  kRaises,    ///< max(0, ∂y/∂P): where a larger weight would raise y
  kLowers,    ///< max(0, −∂y/∂P)
  kForValue,  ///< the four above, times ‖v‖
  kAgainstValue,
  kRaisesValue,
  kLowersValue,
};
inline constexpr WeightKind kWeightKinds[] = {WeightKind::kRaw,         WeightKind::kValue,      WeightKind::kOutput,
                                              WeightKind::kFor,         WeightKind::kAgainst,    WeightKind::kRaises,
                                              WeightKind::kLowers,      WeightKind::kForValue,   WeightKind::kAgainstValue,
                                              WeightKind::kRaisesValue, WeightKind::kLowersValue};

/// "raw", "value", "output", "for", "against", "raises", "lowers", "for-value" and so on; for sink rules "mark", "hide", "renorm".
const char* to_string(WeightKind kind);
/// The gradient quantity of this kind; nullopt for kinds without gradients.
std::optional<GradientLook> gradient_look(WeightKind kind);
inline bool is_gradient(WeightKind kind) { return gradient_look(kind).has_value(); }
/// The norm that this kind multiplies with.
enum class LengthOf : uint8_t { kNothing, kValue, kOutput };
LengthOf length_of(WeightKind kind);
const char* to_string(SinkRule rule);

/// As a layer or a head: the mean over all of them.
inline constexpr int kMean = -1;
/// "L2.H3", "L2.mean" (over the heads of a layer), "mean.H3" (over the layers) or "mean" (over all heads).
std::string head_name(int layer, int64_t head);
/// The same in words, for titles: "layer 2, mean of 8 heads"; "L2.H3" for one head.
std::string head_title(const MapFamily& shape, int layer, int64_t head);
/// A layer or a head in JSON: its number, or "mean".
Json index_json(int64_t index);

/// One head, or the mean of several, under a weight kind and a sink rule.
struct HeadLook {
  std::string family{};
  int layer = 0;     ///< may be kMean
  int64_t head = 0;  ///< may be kMean
  WeightKind weight = WeightKind::kRaw;
  SinkRule sink = SinkRule::kMark;
};

namespace questions {

/// The command that traces the model again and keeps what is missing; `with`: its additional options.
std::string keep_command(const Trace& trace, const std::string& with);
std::string layers_text(const std::vector<int>& layers);  ///< "1, 3"

inline bool is_mean(const HeadLook& at) { return at.layer == kMean || at.head == kMean; }
/// Throws kNotFound if there is no such head, NotKept if its layer was not kept, and kInvalidArgument for a mean of heads.
void check_head(LoadedTrace& loaded, const HeadLook& at);
/// The heads whose mean a look shows; one, if it is not a mean. Throws as check_head() does for each of them.
std::vector<HeadLook> heads_of(LoadedTrace& loaded, const HeadLook& at);
/// Throws kInvalidArgument if the family has no such queries, NotKept if their rows cannot be recomputed.
void check_rows(LoadedTrace& loaded, const std::string& family, const std::vector<Range>& ranges);
/// Throws NotKept if some rows cannot be recomputed. `what` is the beginning of the message: "A column".
void check_all_rows(LoadedTrace& loaded, const std::string& family, const char* what);

/// The map of a layer, of weights or, for gradient kinds, of gradients. Throws NotKept if no gradients were kept, and kInvalidArgument for
/// gradients under kRenormalise, because their rows have no sum to restore.
LayerMap map_of(LoadedTrace& loaded, const HeadLook& at);
/// ‖v_j‖ or ‖v_j·W_O‖ of a head [key]; empty for kinds without norms. Throws NotKept.
std::vector<float> norms(LoadedTrace& loaded, const HeadLook& at);

/// The frame that contains the row of a query; null if it was not kept.
const Frame* frame_of(const LayerMap& map, int64_t query);

/// Σ_{j∈sinks} P_ij over the weights of a row [key]; NaN (hidden) and −1 (never scored) count as 0.
double mass_at_sinks(const float* weights, const FamilyFacts& known);
/// The divisor of a renormalised row: 1 − the mass at its sinks, bounded away from 0.
double left_by_sinks(double at_sinks);
/// The same, but if rows sum to one it adds up the other weights, which avoids cancellation.
double left_by_sinks(const float* weights, const FamilyFacts& known);

}  // namespace questions
}  // namespace clearhead::viewer
