// Metrics of entities in tagged sentences, equal to seqeval. An entity is correct if its type, begin and end are correct.
//
//   tags   O  B-PER  I-PER  O  B-LOC          a tag is a prefix, or a prefix, a hyphen and a type ("B" alone has the type "_")
//   spans     PER 1…3          LOC 4…5        begin … end, without the end
//
// Source: Nakayama's seqeval 1.2.2, which follows conlleval (Tjong Kim Sang & Buchholz 2000) by default. seqeval also
// accepts tags of other forms, with a warning; here they are refused.
#pragma once

#include <string>
#include <vector>

#include "metrics/score.h"

namespace clearhead::metrics {

enum class TagScheme {
  /// seqeval's default: O, B, I, E, S. An I or E that does not continue a span of its type begins one.
  kLenient,
  /// mode="strict", scheme=IOB2: O, B, I. Every span begins with B; an I that does not continue a span belongs to none.
  kIob2,
};

struct TagSpan {
  std::string type;
  size_t begin = 0, end = 0;
  bool operator==(const TagSpan&) const = default;
};

using Tags = std::vector<std::string>;  // the tags of one sentence

/// Returns the spans of a sentence in order. Throws kInvalidArgument for a tag of another form, or with a prefix that the
/// scheme does not have.
std::vector<TagSpan> spans_of(const Tags& tags, TagScheme scheme = TagScheme::kLenient);

struct TypeScore {
  std::string type;
  Score score;
};

struct Tagging {
  std::vector<TypeScore> types;  // all types that are predicted or expected, by name
  Averages average;              // over `types`; all zero if it is empty (seqeval's macro is NaN then)
};

/// Throws kInvalidArgument if the numbers of sentences or the lengths of a sentence differ, without sentences, and as
/// spans_of.
Tagging tagging(const std::vector<Tags>& predicted, const std::vector<Tags>& expected, TagScheme scheme = TagScheme::kLenient);

}  // namespace clearhead::metrics
