// Describes an attention spec in one sentence.
#pragma once

#include <cstdint>
#include <string>

#include "clearhead/spec.h"

namespace clearhead::viewer {

/// "softmax(q·k/√32), every token sees every token". If rows and columns are not tokens (`of_tokens` is false), they
/// are called queries and keys.
std::string summary_of(const AttentionSpec& spec, int64_t d_k, bool of_tokens = true);

}  // namespace clearhead::viewer
