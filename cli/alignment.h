// Alignment of a generated text with its source: which source words each generated word attends to. Used by `run translate` and
// `run summarise`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/trace.h"
#include "cli/word_map.h"

namespace clearhead::cli {

/// Cross-attention between generated words (rows) and source words (columns). The row that chose a token is that of the token
/// before it, so rows are shifted by one.
struct Alignment {
  std::string name{};
  LayerMap map;
  Words words{};
  std::vector<int64_t> heads{};
};
/// named: a head, like L2.H0; if empty, the mean of the last layer's heads. Throws usage_error for a head that does not exist.
Alignment alignment_of(const Trace& trace, const std::string& named);

/// [{"word": …, "source": the word with the most weight, "weight": …}, …]
Json alignment_json(const Alignment& alignment);
/// Prints a map if it fits the terminal, otherwise one line per word.
void print_alignment(const Alignment& alignment);

}  // namespace clearhead::cli
