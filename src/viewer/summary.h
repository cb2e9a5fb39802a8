// Describes an attention spec in one sentence, in English and Chinese.
#pragma once

#include <cstdint>
#include <string>

#include "clearhead/spec.h"
#include "models/example.h"

namespace clearhead::viewer {

/// "softmax(q·k/√32), every token sees every token"; if rows and columns are not tokens (`of_tokens` is false), "every query sees every
/// key".
Bilingual summary_of(const AttentionSpec& spec, int64_t d_k, bool of_tokens = true);

}  // namespace clearhead::viewer
