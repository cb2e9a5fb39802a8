// Head finding that show, ask and atlas share.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/atlas.h"
#include "clearhead/trace.h"

namespace clearhead::cli {

/// The model's name for a heading: a path is named by its last part.
std::string heading_name(const Trace& trace);
/// The family an option named, or the main one. Throws usage_error listing those there are.
std::string family_of(const Trace& trace, const std::string& named);
/// Throw usage_error when the trace has no such layer or head.
void check_layer(const Trace& trace, const std::string& family, int layer);
void check_head(const Trace& trace, const std::string& family, int layer, int64_t head);

/// Throws kNotFound, naming what would help, where a row was not kept, or where no window scored a row against a key.
void check_scored(const LayerMap& map, Range rows, Range keys);

/// Attention sinks of a family (observe/picture.h), ascending; and their first few as "#0 [CLS], #8 [SEP]".
std::vector<int64_t> sinks_of(const Trace& trace, const std::string& family);
std::string sink_names(const RunText& text, const std::vector<int64_t>& sinks);

/// Do rows sum to less than one, because a sink logit takes the rest?
bool has_sink_logit(const LayerMap& map);

/// Heads by how much of rows → keys they carry.
struct HeadMass {
  int layer = 0;
  int64_t head = 0;
  float mass = 0;
  float chance = 0;  ///< what even attention over all that the rows see would send
  float sink = 0;    ///< what the rows send to attention sinks, those of the span included
  double ratio() const { return chance > 0 ? static_cast<double>(mass) / static_cast<double>(chance) : 0.0; }
};
std::vector<HeadMass> heads_by_mass(const Trace& trace, const std::string& family, const std::vector<int>& layers, Range rows, Range keys);

/// For a query: every head's top key besides attention sinks, the most decided heads first, and what the sinks took.
void print_top_heads(const Trace& trace, const std::string& family, const std::vector<int>& layers, Range query, int64_t top, bool json,
                     const std::string& command);

/// The atlas' most telling heads, and the next command to type.
void print_telling_heads(const Trace& trace, const std::string& family, int64_t count, bool json, const std::string& command);

/// Heads, most telling first: called ones by strength, then the mixed.
std::vector<HeadScores> by_strength(std::vector<HeadScores> heads);
/// "induction 83.0 %, local 41.2 %": the two strongest scores; whole percents without the sign, and names of at most five letters, where `is_short`.
std::string strongest_text(const HeadScores& head, bool is_short = false);
Json head_json(const HeadScores& head);

}  // namespace clearhead::cli
