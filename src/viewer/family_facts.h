// What is known of a family of maps before anybody looks at a weight: which layers and rows were kept, whether rows sum to one, where
// attention sinks are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/trace.h"

namespace clearhead {

/// What is known of a family of maps of a trace.
struct FamilyFacts {
  MapFamily shape{};
  int64_t queries = 0, keys = 0;
  std::vector<int> layers{};  ///< kept
  std::vector<Range> rows{};  ///< queries whose row can be recomputed, in every kept layer
  bool all_rows = true;
  bool value = false, output = false;  ///< norms were kept
  bool gradients = false;              ///< of an answer, of every kept row
  bool sums_to_one = true;
  std::vector<Range> windows{};  ///< empty: one run
  std::vector<int64_t> sinks{};
  int64_t sink_rows = 0;                 ///< rows the sinks were found from, when not all
  std::vector<std::string> summaries{};  ///< what each layer computes, in one line; empty where the layer was not kept
  /// Why rows of each layer need not sum to one; empty where they do, or the layer was not kept:
  ///   sink-logit    a logit without a value takes the rest
  ///   independent   each pair has a weight of its own (sigmoid)
  ///   after         weights are scaled after they were normalised (dropout, a head mask, a Gaussian)
  std::vector<std::string> remainders{};
  /// How far every layer's description lets a query see, back and ahead; empty where either way has no end, or the layer was not kept.
  std::vector<std::optional<std::pair<int64_t, int64_t>>> bands{};

  std::optional<std::pair<int64_t, int64_t>> band_of(int layer) const {
    return layer >= 0 && static_cast<size_t>(layer) < bands.size() ? bands[static_cast<size_t>(layer)] : std::nullopt;
  }
  /// The ids of the text that its rows and its columns are.
  Range query_range() const { return shape.is_part ? Range{shape.first_query, shape.first_query + shape.queries} : Range{0, queries}; }
  Range key_range() const { return shape.is_part ? Range{shape.first_key, shape.first_key + shape.keys} : Range{0, keys}; }
};

/// Of the family of that name. Throws kNotFound naming those there are.
FamilyFacts find_facts(const Trace& trace, const std::string& name);

}  // namespace clearhead
