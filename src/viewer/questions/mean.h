// The mean map of several heads, pooled into cells.
//
//   mean_ij = (1/n) Σ_h shown^h_ij       cell = max and mean of mean_ij over its pairs
//
// The mean is taken over single weights before they are pooled: the largest mean in a cell is not the mean of the largest weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "viewer/questions/tiles.h"

namespace clearhead::viewer::questions {

/// The mean of the weights of several heads. NaN: no head can see the pair; −1: none scored it. A head that cannot see a pair that another
/// one sees counts as 0.
class HeadMean {
 public:
  /// Adds the weights of one head; of all heads, the same number.
  void add(std::span<const float> weights);
  std::vector<float> result() const;

 private:
  std::vector<double> sums_{};
  int64_t heads_ = 0;
};

/// Pools the mean of these heads (heads_of()). Time: that of all the heads, in blocks of bounded memory. If `sampled_rows` > 0, reads
/// about that many queries, some from each row of cells.
Cells mean_cells(LoadedTrace& loaded, const std::vector<HeadLook>& heads, const CellsLook& look, const LookOptions& options);
/// The same with columns of key − query.
Cells mean_near_cells(LoadedTrace& loaded, const std::vector<HeadLook>& heads, const OffsetLook& look, const LookOptions& options);

}  // namespace clearhead::viewer::questions
