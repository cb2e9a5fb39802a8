// Checks that the queries and keys named by --cut and --keep-only exist in a text or input, before the model runs on it. With
// --lines, the error names the line.
#pragma once

#include <string>

#include "cli/cli.h"
#include "cli/lines.h"

namespace clearhead::cli {

/// Throws kInvalidArgument if an intervention names a query or key that a run over this encoding does not have. `more`: the number
/// of tokens that are generated after it.
void check_places_in(const Interventions& interventions, const Model& model, const Encoding& encoding, int64_t more = 0);
/// The same for an input. `written`: the largest number of tokens that a speech model may generate from it.
void check_places_in(const Interventions& interventions, const Model& model, const ModelInput& input, int64_t written = 0);
/// The same for a text (or a pair), or for the input that `given` names if the model does not read text.
void check_places_in(const Interventions& interventions, const Model& model, const std::string& given, const std::string& pair = "",
                     int64_t more = 0);
/// The same for each line of a window. The error names the line's number.
void check_places_in(const Window& window, const Model& model, const std::string& pair = "", int64_t more = 0);
/// The same for an embedded text: its first `used` tokens, including the model's prompt.
void check_places_in(const Interventions& interventions, const Model& model, const Embedding& embedding);

}  // namespace clearhead::cli
