// Rows and columns (api/row, api/col): one row or column of a map, or several added up, under a weight kind and a sink rule.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "viewer/frame.h"
#include "viewer/questions/head.h"

namespace clearhead::viewer {

/// A row (or several, added up) or a column.
struct LineLook {
  HeadLook at{};
  std::vector<Range> ranges{};  ///< queries of the rows, or keys of the columns
  bool mean = false;            ///< mean over the rows or columns, instead of their sum
  int64_t top = 8;
  int64_t profile = 0;  ///< number of bins; 0: no profile
  bool words = false;   ///< whether `top` adds up the tokens of a word
  static constexpr int64_t kAll = -1;
  Range values{0, 0};  ///< range of the returned values; {0, kAll}: all
};

/// The sum (or mean) of rows or columns under a weight kind and a sink rule. Hidden and never-scored entries are 0 in `values`.
struct Line {
  std::vector<float> values{};   // [key] or [query]
  std::vector<uint8_t> state{};  // 0 hidden, 1 visible, 2 never scored
  double total = 0, sink_mass = 0;
  int64_t count = 0;  ///< number of rows or columns added up
  std::optional<double> entropy{}, log_sum_exp{};
};

namespace questions {

/// The rows or columns of `look` as a frame (docs/viewer-api.md). Throw as check_head(), check_rows() and check_all_rows() do, and
/// kInvalidArgument for ranges that do not exist.
ViewFrame row(LoadedTrace& loaded, const LineLook& look, const LookOptions& options = {});
ViewFrame column(LoadedTrace& loaded, const LineLook& look, const LookOptions& options = {});

// Shared with the exports.
Line row_line(LoadedTrace& loaded, const LineLook& look, const LookOptions& options);
Line column_line(LoadedTrace& loaded, const LineLook& look, const LookOptions& options);

}  // namespace questions
}  // namespace clearhead::viewer
