// Finds and ranks heads, for show, ask and atlas.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/atlas.h"
#include "clearhead/trace.h"

namespace clearhead::cli {

/// The model's name for a heading: the last component of a path.
std::string heading_name(const Trace& trace);
/// The family that --family names, or the main one. Throws usage_error that lists the families.
std::string family_of(const Trace& trace, const std::string& named);
/// Throw usage_error if the trace has no such layer or head.
void check_layer(const Trace& trace, const std::string& family, int layer);
void check_head(const Trace& trace, const std::string& family, int layer, int64_t head);

/// Throws kNotFound, with a remedy, if a row was not kept, or if no window contains both the rows and the keys.
void check_scored(const LayerMap& map, Range rows, Range keys);

/// The attention sinks of a family (observe/picture.h), ascending; and the first few as text: "#0 [CLS], #8 [SEP]".
std::vector<int64_t> sinks_of(const Trace& trace, const std::string& family);
std::string sink_names(const RunText& text, const std::vector<int64_t>& sinks);

/// True if the softmax has a sink logit, so that the visible weights of a row sum to less than one.
bool has_sink_logit(const LayerMap& map);

/// The weight that a head sends from a range of rows to a range of keys.
struct HeadMass {
  int layer = 0;
  int64_t head = 0;
  float mass = 0;
  float chance = 0;  ///< the same for uniform attention over all keys that the rows see
  float sink = 0;    ///< the weight on attention sinks, including sinks within the range of keys
  double ratio() const { return chance > 0 ? static_cast<double>(mass) / static_cast<double>(chance) : 0.0; }
};
/// All heads of the layers, largest mass first.
std::vector<HeadMass> heads_by_mass(const Trace& trace, const std::string& family, const std::vector<int>& layers, Range rows, Range keys);

/// The rows of a family that tokens name: those that wrote them, or those that read them (observe/written_rows.h).
Range rows_of(const Trace& trace, const std::string& family, Range tokens);
/// A row as text: "writing #13 " or "#13 ", followed by the name of the token that it is named by.
std::string row_text(const Trace& trace, const std::string& family, int64_t row, const std::function<std::string(int64_t id)>& name);

/// Prints, for a row, the `top` heads with the largest weight on one key, attention sinks excluded, and the weight on the sinks.
void print_top_heads(const Trace& trace, const std::string& family, const std::vector<int>& layers, int64_t row, int64_t top, bool json,
                     const std::string& command);

/// Prints the `count` heads with the strongest atlas scores, and the next command to type.
void print_telling_heads(const Trace& trace, const std::string& family, int64_t count, bool json, const std::string& command);

/// Sorts heads by strength, strongest first. Heads of kind "mixed" come after all others.
std::vector<HeadScores> by_strength(std::vector<HeadScores> heads);
/// The two strongest scores: "induction 83.0 %, local 41.2 %". If is_short, names are cut to five letters, and percentages are
/// whole numbers without the sign.
std::string strongest_text(const HeadScores& head, bool is_short = false);
Json head_json(const HeadScores& head);

}  // namespace clearhead::cli
