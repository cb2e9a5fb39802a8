// The first view of a text for a user who asked for none.
#pragma once

#include <string>

#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

/// The state, as in the page's address, that shows the head and the row with the largest weight on another word: one that is no attention
/// sink, no neighbour, and not the same word again. It is searched in the row of the first token that has an answer of its own
/// (LoadedTrace::Options::answers), otherwise among the first words of the text. Empty if no such weight reaches
/// 20 %, for maps whose rows or columns are not tokens, and if one row of every head is more than 4·10⁹ multiply-adds, which is the limit of
/// the search.
std::string opening_state(LoadedTrace& loaded);

}  // namespace clearhead::viewer
