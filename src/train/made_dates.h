// Pairs that are made, not read: dates as people write them, and the same in ISO 8601. A task whose alignment is known: the year,
// the month and the day of the target each have one place in the source.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace clearhead {

struct TextPair;

/// "made:dates:train:20000" in the place of a file: 20,000 pairs of the training part; "valid", "test". Nothing for other names. The
/// parts share no date. Throws kFormat, naming what is wrong.
std::optional<std::vector<TextPair>> made_dates(const std::string& name);

}  // namespace clearhead
