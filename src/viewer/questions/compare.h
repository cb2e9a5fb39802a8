// Compares two maps: two heads of one trace, the same head of two traces, or a head before and after an edit.
//
//   difference of a cell    mean of P'_ij − P_ij over the pairs that both maps have; a pair that is hidden in one map only has
//                           weight 0 there
//   divergence of a row     Jensen–Shannon divergence in nats over the keys that both maps have, plus one outcome for all other keys
//                           (explain/evaluate/agreement.h); for a cell, the mean over its rows
//
// Rows and columns are the merged positions of both texts (alignment.h); positions of one text only have no difference. No N×N matrix is
// stored: rows of both maps are recomputed in blocks and pooled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"
#include "viewer/questions/alignment.h"

namespace clearhead::viewer {

struct ComparedHead {
  std::string family{};
  int layer = 0;     ///< may be kMean
  int64_t head = 0;  ///< may be kMean
};

struct CompareLook {
  ComparedHead before{}, after{};
  std::optional<Range> rows{}, columns{};  ///< merged positions; absent: all positions that either family has
  bool exact = false;                      ///< compute every row, however long it takes
};

namespace questions {

/// The ids of both texts by position, and how they were aligned (api/aligned).
ViewFrame aligned_places(const LoadedTrace& before, const LoadedTrace& after);

/// Emits "picture" events (api/compare): both maps and the divergence of rows, at most 256 cells a side. If the computation is long, a
/// picture from a sample of each cell's rows comes first; if it is very long and `exact` is false, this is the only one. Throws
/// kInvalidArgument for ranges outside the merged positions and for heads of one trace whose families have different queries or keys, and
/// what heads_of() throws.
void compare(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const TakeFrame& take, const LookOptions& options = {});

/// Emits "heads" events (api/compare-heads): the mean divergence of each head of a family from the head with the same index in the other
/// trace, or within one trace from the head in `look.before`. Computed from a few rows first, then from more rows or all of them.
void compare_heads(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const TakeFrame& take,
                   const LookOptions& options = {});

/// Mean divergence [layer][head] of the heads of a family of `after` from the heads with the same index of `before`; NaN if a layer was not
/// kept or no row is in both.
struct HeadDivergences {
  std::vector<std::vector<double>> divergence{};
  int64_t rows = 0, of = 0;  ///< number of rows used, and number of rows that both have
};
HeadDivergences head_divergences(LoadedTrace& before, LoadedTrace& after, const std::string& family, const std::vector<Aligned>& pieces,
                                 int64_t most_rows, const LookOptions& options);

}  // namespace questions
}  // namespace clearhead::viewer
