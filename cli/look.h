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

/// Heads by how much of rows → keys they carry.
struct HeadMass {
  int layer = 0;
  int64_t head = 0;
  float mass = 0;
};
std::vector<HeadMass> heads_by_mass(const Trace& trace, const std::string& family, const std::vector<int>& layers, Range rows, Range keys);

/// For a query: every head's top key, the most decided heads first.
void print_top_heads(const Trace& trace, const std::string& family, const std::vector<int>& layers, Range query, int64_t top, bool json,
                     const std::string& command);

/// The atlas' most telling heads, and the next command to type.
void print_telling_heads(const Trace& trace, const std::string& family, int64_t count, bool json, const std::string& command);

/// Heads, most telling first: called ones by strength, then the mixed.
std::vector<HeadScores> by_strength(std::vector<HeadScores> heads);
Json head_json(const HeadScores& head);

}  // namespace clearhead::cli
