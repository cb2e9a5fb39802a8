// What questions about weights share: which head they are about, under which weight kind and sink rule; what refuses where the trace did not
// keep it; what sinks take of a row.
//
//   used_ij = P_ij · norm_j · (0 at sinks unless marked) / (1 − Σ_{j∈sinks} P_ij when renormalising)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "observe/picture.h"
#include "viewer/loaded_trace.h"

namespace clearhead {

/// What is shown of a weight P. The last eight need a trace that kept gradients of an answer y.
enum class WeightKind : uint8_t {
  kRaw,       ///< P
  kValue,     ///< P·‖v‖
  kOutput,    ///< P·‖v·W_O‖
  kFor,       ///< max(0, P·∂y/∂P): what speaks for y
  kAgainst,   ///< max(0, −P·∂y/∂P)
  kRaises,    ///< max(0, ∂y/∂P): where more weight would raise y
  kLowers,    ///< max(0, −∂y/∂P)
  kForValue,  ///< the four before, times ‖v‖
  kAgainstValue,
  kRaisesValue,
  kLowersValue,
};
inline constexpr WeightKind kWeightKinds[] = {WeightKind::kRaw,         WeightKind::kValue,      WeightKind::kOutput,
                                              WeightKind::kFor,         WeightKind::kAgainst,    WeightKind::kRaises,
                                              WeightKind::kLowers,      WeightKind::kForValue,   WeightKind::kAgainstValue,
                                              WeightKind::kRaisesValue, WeightKind::kLowersValue};

/// "raw", "value", "output", "for", "against", "raises", "lowers", "for-value" and so on; "mark", "hide", "renorm".
const char* to_string(WeightKind kind);
/// What it shows of gradients; nothing: it shows weights.
std::optional<GradientLook> gradient_look(WeightKind kind);
inline bool is_gradient(WeightKind kind) { return gradient_look(kind).has_value(); }
/// The lengths that it multiplies with.
enum class LengthOf : uint8_t { kNothing, kValue, kOutput };
LengthOf length_of(WeightKind kind);
const char* to_string(SinkRule rule);

/// One head under a weight kind and a sink rule.
struct HeadLook {
  std::string family{};
  int layer = 0;
  int64_t head = 0;
  WeightKind weight = WeightKind::kRaw;
  SinkRule sink = SinkRule::kMark;
};

namespace questions {

/// The command that keeps what was not kept.
std::string keep_command(const Trace& trace, const std::string& with);
std::string layers_text(const std::vector<int>& layers);  ///< "1, 3"

/// Throws kNotFound where there is no such head, NotKept where its layer was not kept.
void check_head(LoadedTrace& loaded, const HeadLook& at);
/// Throws kInvalidArgument where the family has no such queries, NotKept where their rows cannot be recomputed.
void check_rows(LoadedTrace& loaded, const std::string& family, const std::vector<Range>& ranges);
/// `what` begins the message: "A column". Throws NotKept where some rows cannot be recomputed.
void check_all_rows(LoadedTrace& loaded, const std::string& family, const char* what);

/// The map of a layer that shows weights, or gradients where the weight kind is one. Throws NotKept where none were kept, and kInvalidArgument for
/// gradients under kRenormalise: their rows have no sum to restore.
LayerMap map_of(LoadedTrace& loaded, const HeadLook& at);
/// ‖v_j‖ or ‖v_j·W_O‖ of a head [key]; empty for kinds without norms. Throws NotKept.
std::vector<float> norms(LoadedTrace& loaded, const HeadLook& at);

/// The frame that holds a query's row; null where none was kept.
const Frame* frame_of(const LayerMap& map, int64_t query);

/// Σ_{j∈sinks} P_ij of a row's weights [key]; NaN (hidden) and −1 (never scored) count as 0.
double mass_at_sinks(const float* weights, const FamilyFacts& known);
/// What a renormalised row is divided by: 1 − the mass at its sinks, kept from 0.
double left_by_sinks(double at_sinks);
/// The same without cancellation where rows sum to one, by adding up what remains.
double left_by_sinks(const float* weights, const FamilyFacts& known);

}  // namespace questions
}  // namespace clearhead
