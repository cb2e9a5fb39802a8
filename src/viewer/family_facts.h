// Facts about a family of maps that do not depend on what is shown: which layers and rows were kept, whether rows sum to one, where the
// attention sinks are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/trace.h"
#include "models/example.h"
#include "observe/written_rows.h"

namespace clearhead::viewer {

/// The facts about one family of maps of a trace.
struct FamilyFacts {
  MapFamily shape{};
  int64_t queries = 0, keys = 0;
  std::vector<int> layers{};  ///< the layers that were kept
  std::vector<Range> rows{};  ///< queries whose row can be recomputed, in every kept layer
  bool all_rows = true;
  WrittenRows written{};               ///< the rows that write a token, and the names of rows
  bool value = false, output = false;  ///< whether the norms ‖v‖ and ‖v·W_O‖ were kept
  bool gradients = false;              ///< whether gradients of an answer were kept for every kept row
  bool sums_to_one = true;
  std::vector<Range> windows{};  ///< empty: the text was read in one run
  std::vector<int64_t> sinks{};
  int64_t sink_rows = 0;               ///< number of sampled rows from which the sinks were found; 0: all rows
  std::vector<Bilingual> summaries{};  ///< one line per layer that describes what it computes; empty if the layer was not kept
  /// The reason why rows of each layer need not sum to one; empty if they do, or if the layer was not kept:
  ///   sink-logit    a logit without a value takes the rest of the probability
  ///   independent   each pair has its own weight (sigmoid)
  ///   after         weights are scaled after normalisation (dropout, a head mask, a Gaussian)
  std::vector<std::string> remainders{};
  /// For each layer, how far a query sees backwards and ahead; empty if either direction is unlimited, or if the layer was not kept.
  std::vector<std::optional<std::pair<int64_t, int64_t>>> bands{};

  std::optional<std::pair<int64_t, int64_t>> band_of(int layer) const {
    return layer >= 0 && static_cast<size_t>(layer) < bands.size() ? bands[static_cast<size_t>(layer)] : std::nullopt;
  }
  /// The ids of the text that correspond to the rows and the columns of the map.
  Range query_range() const { return shape.is_part ? Range{shape.first_query, shape.first_query + shape.queries} : Range{0, queries}; }
  Range key_range() const { return shape.is_part ? Range{shape.first_key, shape.first_key + shape.keys} : Range{0, keys}; }
};

/// True if the rows and the columns of the family's maps are tokens of the text, not items.
bool is_of_tokens(const RunText& text, const MapFamily& family);
/// Returns the facts of the family with this name. Throws kNotFound, with the names that exist.
FamilyFacts find_facts(const Trace& trace, const std::string& name);

}  // namespace clearhead::viewer
