// Groups the target's initial items, which are its tokens.
#include "explain/items.h"

#include <algorithm>
#include <optional>

#include "base/format.h"
#include "models/input_kind.h"
#include "models/input_text.h"
#include "models/run_text.h"
#include "models/trace_text.h"

namespace clearhead::explain {
namespace {

// From the first removable token of a range to the last one.
std::optional<Range> removable_part(const AttributionTarget& target, Range range) {
  const std::vector<Range>& tokens = target.items();
  const auto starts_before = [](const Range& token, int64_t id) { return token.begin < id; };
  const auto first = std::lower_bound(tokens.begin(), tokens.end(), range.begin, starts_before);
  const auto last = std::lower_bound(first, tokens.end(), range.end, starts_before);
  if (first == last) return std::nullopt;
  return Range{first->begin, (last - 1)->end};
}

}  // namespace

std::vector<Range> items_of_words(const AttributionTarget& target, const std::vector<int32_t>& word_of_id) {
  if (target.has_model() && !target.model().info().tags_words)
    return target.items();  // a sequence of characters, such as a protein, has no words
  std::vector<Range> out;
  for (const Range& token : target.items()) {
    const int32_t word = word_of_id[static_cast<size_t>(token.begin)];
    const bool goes_on =
        !out.empty() && out.back().end == token.begin && word >= 0 && word_of_id[static_cast<size_t>(token.begin - 1)] == word;
    if (goes_on) {
      out.back().end = token.end;
    } else {
      out.push_back(token);
    }
  }
  return out;
}

std::vector<TextSegment> segments_as_units(const RunText& text) {
  if (!text.items.empty())
    fail(ErrorCode::kUnsupported,
         "units \"segment\": this input consists of items of kind \"{}\", which are its units; leave out the units",
         text.items.front().kind);
  std::vector<TextSegment> segments = disjoint_segments(text.segments);
  if (segments.size() < 2)
    fail(ErrorCode::kInvalidArgument,
         "units \"segment\": expected a text with two or more named segments, found {}; name the segments with --segments FILE",
         segments.size());
  return segments;
}

std::vector<std::string> group_by_segments(AttributionTarget& target, const std::vector<TextSegment>& segments) {
  std::vector<Range> items;
  std::vector<std::string> names;
  for (const TextSegment& segment : segments) {
    const std::optional<Range> item = removable_part(target, {segment.begin, segment.end});
    if (!item) continue;
    items.push_back(*item);
    names.push_back(segment.name);
  }
  target.set_items(std::move(items));
  return names;
}

std::array<int64_t, 2> bytes_of_item(const AttributionTarget& target, const Range& item) {
  const auto& offsets = target.plan().text.offsets;
  return {offsets[static_cast<size_t>(item.begin)][0], offsets[static_cast<size_t>(item.end - 1)][1]};
}

std::vector<uint8_t> items_in_bytes(const AttributionTarget& target, const std::vector<std::array<int64_t, 2>>& stretches) {
  std::vector<uint8_t> out;
  const RunText& text = target.plan().text;
  for (const Range& item : target.items()) {
    bool is_in = false;
    for (int64_t id = item.begin; id < item.end; ++id) {
      const auto [begin, end] = text.offsets[static_cast<size_t>(id)];
      for (const auto& [from, to] : stretches) is_in = is_in || (begin < to && from < end);
    }
    out.push_back(is_in);
  }
  return out;
}

std::vector<Range> items_of_sentences(const AttributionTarget& target) {
  const std::string& text = target.plan().text.text;
  std::vector<Range> items;
  size_t from = 0;
  for (const std::string& sentence : sentences_of(text)) {
    const size_t found = text.find(sentence, from);
    if (found == std::string::npos) continue;
    from = found + sentence.size();
    const Range held = tokens_of_bytes(target.plan().text, static_cast<int64_t>(found), static_cast<int64_t>(from));
    const std::optional<Range> item =
        removable_part(target, {items.empty() ? held.begin : std::max(held.begin, items.back().end), held.end});
    if (item) items.push_back(*item);
  }
  return items;
}

}  // namespace clearhead::explain
