// Entities in tagged sentences: right where type, begin and end are, equal to seqeval.
//
//   tags   O  B-PER  I-PER  O  B-LOC          a tag is a prefix, or a prefix, a hyphen and a type ("B" alone has the type "_")
//   spans     PER 1…3          LOC 4…5        begin … end, end not among them
//
// Source: Nakayama's seqeval 1.2.2, which follows conlleval (Tjong Kim Sang & Buchholz 2000) by default. It also takes tags of other forms, with a warning;
// here they are refused.
#pragma once

#include <string>
#include <vector>

#include "metrics/score.h"

namespace clearhead::metrics {

enum class TagScheme {
  kLenient,  ///< seqeval's default: O, B, I, E, S; an I or E that nothing opened opens a span itself, and so does one of another type
  kIob2,     ///< mode="strict", scheme=IOB2: O, B, I; a span begins with B, and an I that continues none belongs to none
};

struct TagSpan {
  std::string type;
  size_t begin = 0, end = 0;
  bool operator==(const TagSpan&) const = default;
};

using Tags = std::vector<std::string>;  // of one sentence

/// The spans of a sentence in order. Throws kInvalidArgument for a tag of another form, or a prefix that the scheme does not have.
std::vector<TagSpan> spans_of(const Tags& tags, TagScheme scheme = TagScheme::kLenient);

struct TypeScore {
  std::string type;
  Score score;
};

struct Tagging {
  std::vector<TypeScore> types;  // predicted or there, by name
  Averages average;              // over these; all zero without any (seqeval's macro is NaN then)
};

/// Throws kInvalidArgument where the sides differ in sentences or in the length of one, without sentences, and as spans_of does.
Tagging tagging(const std::vector<Tags>& predicted, const std::vector<Tags>& expected, TagScheme scheme = TagScheme::kLenient);

}  // namespace clearhead::metrics
