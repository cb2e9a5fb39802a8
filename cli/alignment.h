// Which words of a source the words that were written were chosen by: for `run translate` and `run summarise`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/trace.h"
#include "cli/word_map.h"

namespace clearhead::cli {

/// The row of cross-attention that chose a token is the one of the token before it.
struct Alignment {
  std::string name{};
  LayerMap map;
  Words words{};
  std::vector<int64_t> heads{};
};
/// named: a head, like L2.H0; empty: the mean of the last layer's heads. Throws usage_error for a head that is not there.
Alignment alignment_of(const Trace& trace, const std::string& named);

/// [{"word": …, "source": the word with the most weight, "weight": …}, …]
Json alignment_json(const Alignment& alignment);
/// As a map where it fits the terminal, else a line for each word.
void print_alignment(const Alignment& alignment);

}  // namespace clearhead::cli
