// An answer of the model on the open text as an attribution target (explain/attribution_target.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "clearhead/model.h"
#include "explain/attribution_target.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer::questions {

/// The source of an encoder-decoder, and the target that it generated, including its first token.
struct SourceAndTarget {
  Encoding source{}, target{};
};
SourceAndTarget parts_of(const RunPlan& plan);
/// The tokens that were generated, from a text or a sound. Throws kUnsupported if there are none.
Encoding target_of(const RunPlan& plan);

/// The attribution target for an answer of the model. `token`: the index in the open text of the token whose prediction is explained;
/// absent: the answer that `asked` names, or the model's own answer. The ids that the target reads before the answer are the
/// first ids of the open text.
/// Throws NotKept without a model, kUnsupported if the model's answer cannot be explained or the text was read in several windows,
/// kInvalidArgument for a token that is not an answer, and what make_target() throws.
std::unique_ptr<explain::AttributionTarget> attribution_target(LoadedTrace& loaded, const explain::TargetSpec& asked,
                                                               std::optional<int64_t> token, bool gradients);

}  // namespace clearhead::viewer::questions
