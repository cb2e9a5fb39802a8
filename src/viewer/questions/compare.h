// Two maps laid over each other: two heads of one trace, the same head of two traces, or before and after an edit.
//
//   difference of a cell    mean over its pairs of P'_ij − P_ij, over pairs that both maps have; hidden in one of them only: no weight there
//   divergence of a row     Jensen–Shannon over all keys that both have and "all others" as one more, in nats (judge/agreement.h); of a cell's rows the mean
//
// Rows and columns are places of both texts in one order (alignment.h); what stands in one text only has no difference. Nothing N×N is made: rows of both maps are
// recomputed in blocks, and pooled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"
#include "viewer/questions/alignment.h"

namespace clearhead {

struct ComparedHead {
  std::string family{};
  int layer = 0;
  int64_t head = 0;
};

struct CompareLook {
  ComparedHead before{}, after{};
  std::optional<Range> rows{}, columns{};  ///< places; absent: those that either family has
  bool exact = false;                      ///< every row, however long it takes
};

namespace questions {

/// Ids of both texts by place, and how they were found (api/aligned).
ViewFrame aligned_places(const LoadedTrace& before, const LoadedTrace& after);

/// Events "picture" (api/compare): both maps and the divergence of rows, at most 256 cells a side; where it takes long from some rows of each cell first, and where it
/// takes very long and `exact` is false, from these alone. Throws kInvalidArgument for ranges outside the places, and for heads of one trace whose families have other
/// sides; as check_head() for heads.
void compare(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const TakeFrame& take, const LookOptions& options = {});

/// Events "heads" (api/compare-heads): the mean divergence of each head of a family from that of the same number in the other trace; within one trace from the head in
/// `look.before`. From some rows first, from more or all of them last.
void compare_heads(LoadedTrace& before, LoadedTrace& after, const CompareLook& look, const TakeFrame& take,
                   const LookOptions& options = {});

/// Mean divergence of [layer][head] of a family of `after` from the head of the same number before; NaN where a layer was not kept or no row is in both.
struct HeadDivergences {
  std::vector<std::vector<double>> divergence{};
  int64_t rows = 0, of = 0;  ///< looked at, of those that both have
};
HeadDivergences head_divergences(LoadedTrace& before, LoadedTrace& after, const std::string& family, const std::vector<Aligned>& pieces,
                                 int64_t most_rows, const LookOptions& options);

}  // namespace questions
}  // namespace clearhead
