// Generated pairs: dates as people write them, and the same dates in ISO 8601. The alignment of this task is known: the year, the
// month and the day of the target each occur once in the source.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace clearhead::tasks {

struct TextPair;

/// Generates the pairs for a name like "made:dates:train:20000", which a recipe gives instead of a file: 20,000 pairs for training;
/// also "valid" and "test". Returns std::nullopt for other names. The three sets share no date. Throws kFormat for an invalid name.
std::optional<std::vector<TextPair>> made_dates(const std::string& name);

}  // namespace clearhead::tasks
