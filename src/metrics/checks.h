// Checks of the arguments of metrics: equal numbers of items, at least one item, finite values.
#pragma once

#include <cmath>
#include <span>
#include <string_view>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::metrics {

/// Throws kInvalidArgument unless both numbers of items are equal and at least one. `metric` and `items` are names for the
/// error message: "ROUGE", "texts".
inline void check_sides(std::string_view metric, std::string_view items, size_t predicted, size_t expected) {
  if (predicted != expected) {
    fail(ErrorCode::kInvalidArgument, "{}: {} {} against {}; the numbers must be equal", metric, predicted, items, expected);
  }
  if (expected == 0) fail(ErrorCode::kInvalidArgument, "{}: no {}; expected at least one", metric, items);
}

/// Throws kInvalidArgument for a value that is not finite. `side` names the values in the error message.
inline void check_finite(std::string_view metric, std::string_view side, std::span<const double> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      fail(ErrorCode::kInvalidArgument, "{}: {}[{}] is {}; expected a finite number", metric, side, i, values[i]);
  }
}

}  // namespace clearhead::metrics
