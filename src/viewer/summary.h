// A description of attention said in one sentence.
#pragma once

#include <cstdint>
#include <string>

#include "clearhead/spec.h"

namespace clearhead {

/// "softmax(q·k/√32), every token sees every token": one sentence of a description. Rows and columns that
/// are no tokens are called queries and keys.
std::string summary_of(const AttentionSpec& spec, int64_t d_k, bool of_tokens = true);

}  // namespace clearhead
