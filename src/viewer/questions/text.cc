// Tokens stand where their bytes are, one without bytes where the text has come to.
#include "viewer/questions/text.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/format.h"

namespace clearhead::questions {

ViewFrame text(const LoadedTrace& loaded, int side, std::optional<Range> wanted) {
  if (side != 0) fail(ErrorCode::kNotFound, "side {}: this source has one side, 0.", side);
  const RunText& text = loaded.trace().plan().text;
  const int64_t tokens = static_cast<int64_t>(text.ids.size());
  const Range range = wanted.value_or(Range{0, tokens});
  if (range.begin < 0 || range.begin > range.end || range.end > tokens) {
    fail(ErrorCode::kInvalidArgument, "from={}, to={}: not a range of the {} tokens.", range.begin, range.end, tokens);
  }
  std::vector<uint32_t> begin, end;
  std::vector<int32_t> id, word;
  std::vector<uint8_t> flags;
  int64_t first = -1, last = 0, reached = 0;
  for (int64_t i = range.begin - 1; i >= 0 && reached == 0; --i) reached = text.offsets[static_cast<size_t>(i)][1];
  for (int64_t i = range.begin; i < range.end; ++i) {
    const size_t at = static_cast<size_t>(i);
    auto [from, to] = text.offsets[at];
    if (from == to) from = to = reached;  // a token without text stands where the text has come to
    reached = std::max(reached, to);
    begin.push_back(static_cast<uint32_t>(from));
    end.push_back(static_cast<uint32_t>(to));
    id.push_back(text.ids[at]);
    word.push_back(loaded.words()[at]);
    flags.push_back(text.special[at] ? 1 : 0);
    if (to > from) {
      first = first < 0 ? from : std::min(first, from);
      last = std::max(last, to);
    }
  }
  if (first < 0) first = last = 0;
  if (range.begin == 0) first = 0;
  if (range.end == tokens) last = static_cast<int64_t>(text.text.size());
  ViewFrame frame;
  frame.header = Json::object(
      {{"side", side}, {"from", range.begin}, {"to", range.end}, {"tokens", tokens}, {"byte_begin", first}, {"byte_end", last}});
  frame.add_text("text", std::string_view(text.text).substr(static_cast<size_t>(first), static_cast<size_t>(last - first)));
  frame.add("begin", begin);
  frame.add("end", end);
  frame.add("id", id);
  frame.add("word", word);
  frame.add("flags", flags);
  return frame;
}

Json segments(const LoadedTrace& loaded, int side) {
  if (side != 0) fail(ErrorCode::kNotFound, "side {}: this source has one side, 0.", side);
  std::vector<TextSegment> segments = loaded.trace().plan().text.segments;
  std::stable_sort(segments.begin(), segments.end(), [](const TextSegment& a, const TextSegment& b) { return a.begin < b.begin; });
  Json list = Json::array();
  int64_t reached = 0;
  for (const TextSegment& segment : segments) {
    const int64_t begin = std::max(segment.begin, reached);  // they may not overlap: the earlier one keeps the tokens
    if (begin >= segment.end) continue;
    reached = segment.end;
    list.push(Json::object({{"name", segment.name},
                            {"role", segment.role.empty() ? Json() : Json(segment.role)},
                            {"begin", begin},
                            {"end", segment.end},
                            {"lang", nullptr}}));
  }
  return Json::object({{"segments", list}});
}

}  // namespace clearhead::questions
