// Places that --cut and --keep-only name, checked against one text or input before the model runs on it. With many lines, the
// error is one of the line.
#pragma once

#include <string>

#include "cli/cli.h"
#include "cli/lines.h"

namespace clearhead::cli {

/// Throws kInvalidArgument for interventions on places that a run over this encoding does not have. `more`: tokens that are
/// generated after it.
void check_places_in(const Interventions& interventions, const Model& model, const Encoding& encoding, int64_t more = 0);
/// The same for an input. `written`: the most tokens that a network of sounds may write from it.
void check_places_in(const Interventions& interventions, const Model& model, const ModelInput& input, int64_t written = 0);
/// The same for a text (or a pair), or for the input that `given` names where the model reads no text.
void check_places_in(const Interventions& interventions, const Model& model, const std::string& given, const std::string& pair = "",
                     int64_t more = 0);
/// The same for each line of a window, whose number the error names.
void check_places_in(const Window& window, const Model& model, const std::string& pair = "", int64_t more = 0);
/// The same for what is embedded of a text: its first `used` tokens, a prompt of the model included.
void check_places_in(const Interventions& interventions, const Model& model, const Embedding& embedding);

}  // namespace clearhead::cli
