// Converts tags to spans, comparing each tag with the one before it. Predicted and expected spans are matched by type,
// begin and end.
#include "metrics/tagging.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "metrics/checks.h"

namespace clearhead::metrics {
namespace {

struct Tag {
  char prefix = 'O';
  std::string_view type;
};

Tag tag_of(std::string_view text, size_t at, TagScheme scheme) {
  const bool is_strict = scheme == TagScheme::kIob2;
  const std::string_view prefixes = is_strict ? "BI" : "BIES";
  if (text == "O") return {};
  if (text.empty() || prefixes.find(text[0]) == std::string_view::npos || (text.size() > 1 && text[1] != '-')) {
    fail(ErrorCode::kInvalidArgument, "tagging: tag [{}] is \"{}\"; expected O, or one of {} followed by -TYPE", at, text, prefixes);
  }
  Tag tag{text[0], text.substr(std::min<size_t>(text.size(), 2))};
  if (is_strict) {
    while (tag.type.starts_with('-')) tag.type.remove_prefix(1);
    while (tag.type.ends_with('-')) tag.type.remove_suffix(1);
  }
  if (tag.type.empty()) tag.type = "_";
  return tag;
}

bool continues(const Tag& before, const Tag& tag, TagScheme scheme) {
  if (before.prefix == 'O' || tag.prefix == 'O' || before.type != tag.type) return false;
  if (scheme == TagScheme::kIob2) return tag.prefix == 'I';
  return before.prefix != 'E' && before.prefix != 'S' && (tag.prefix == 'I' || tag.prefix == 'E');
}

bool opens(const Tag& tag, TagScheme scheme) { return scheme == TagScheme::kIob2 ? tag.prefix == 'B' : tag.prefix != 'O'; }

}  // namespace

std::vector<TagSpan> spans_of(const Tags& tags, TagScheme scheme) {
  std::vector<TagSpan> spans;
  Tag before;
  bool is_open = false;
  for (size_t at = 0; at < tags.size(); ++at) {
    const Tag tag = tag_of(tags[at], at, scheme);
    if (is_open && continues(before, tag, scheme)) {
      spans.back().end = at + 1;
    } else if (opens(tag, scheme)) {
      spans.push_back({std::string(tag.type), at, at + 1});
      is_open = true;
    } else {
      is_open = false;
    }
    before = tag;
  }
  return spans;
}

Tagging tagging(const std::vector<Tags>& predicted, const std::vector<Tags>& expected, TagScheme scheme) {
  check_sides("tagging", "sentences", predicted.size(), expected.size());
  std::map<std::string, Counts> types;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (predicted[i].size() != expected[i].size()) {
      fail(ErrorCode::kInvalidArgument, "tagging: sentence {} has {} tags against {}; the numbers must be equal", i, predicted[i].size(),
           expected[i].size());
    }
    const std::vector<TagSpan> ours = spans_of(predicted[i], scheme), theirs = spans_of(expected[i], scheme);
    for (const TagSpan& span : ours) ++types[span.type].predicted;
    for (const TagSpan& span : theirs) {
      ++types[span.type].expected;
      if (std::find(ours.begin(), ours.end(), span) != ours.end()) ++types[span.type].correct;
    }
  }
  Tagging out;
  std::vector<Counts> counts;
  for (const auto& [type, of_type] : types) {
    out.types.push_back({type, score_of(of_type)});
    counts.push_back(of_type);
  }
  out.average = averages_of(counts);
  return out;
}

}  // namespace clearhead::metrics
