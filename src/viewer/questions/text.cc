// Tokens are located by their bytes. A token without bytes is located at the end of the text before it.
#include "viewer/questions/text.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "base/format.h"
#include "models/run_text.h"
#include "viewer/words.h"

namespace clearhead::viewer::questions {
namespace {

// The items that follow the tokens, with their names.
Json items_json(const RunText& text) {
  Json out = Json::array();
  for (const ItemRange& range : text.items) {
    Json names = Json::array();
    for (int64_t id = range.begin; id < range.end; ++id) names.push(text.pieces[static_cast<size_t>(id)]);
    const Tensor& picture = range.picture;
    Json boxes;
    if (range.boxes.defined()) {
      const Tensor dense = range.boxes.contiguous();
      boxes = Json::array();
      for (int64_t at = 0; at < dense.numel(); ++at) boxes.push(dense.data<float>()[at]);
    }
    out.push(Json::object({{"kind", range.kind},
                           {"begin", range.begin},
                           {"end", range.end},
                           {"rows", range.rows},
                           {"picture", picture.defined() ? Json(Json::Array{picture.size(0), picture.size(1)}) : Json()},
                           {"boxes", std::move(boxes)},
                           {"names", std::move(names)}}));
  }
  return out;
}

}  // namespace

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
  for (int64_t i = std::min(range.begin, text.tokens()) - 1; i >= 0 && reached == 0; --i) reached = text.offsets[static_cast<size_t>(i)][1];
  for (int64_t i = range.begin; i < range.end; ++i) {
    const size_t at = static_cast<size_t>(i);
    auto [from, to] = text.offsets[at];
    if (from == to) from = to = reached;  // a token without text is located where the text before it ends
    reached = std::max(reached, to);
    begin.push_back(static_cast<uint32_t>(from));
    end.push_back(static_cast<uint32_t>(to));
    id.push_back(text.ids[at]);
    word.push_back(loaded.words()[at]);
    flags.push_back(text.special[at] || is_without_text(text, at) ? 1 : 0);
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
  if (!text.items.empty()) frame.header["items"] = items_json(text);
  frame.add_text("text", std::string_view(text.text).substr(static_cast<size_t>(first), static_cast<size_t>(last - first)));
  frame.add("begin", begin);
  frame.add("end", end);
  frame.add("id", id);
  frame.add("word", word);
  frame.add("flags", flags);
  return frame;
}

ViewFrame picture(const LoadedTrace& loaded, int64_t range) {
  const std::vector<ItemRange>& items = loaded.trace().plan().text.items;
  if (range < 0 || range >= static_cast<int64_t>(items.size()) || !items[static_cast<size_t>(range)].picture.defined())
    fail(ErrorCode::kNotFound, "picture {}: this text has {} ranges of items, and this one has no picture.", range, items.size());
  const Tensor pixels = items[static_cast<size_t>(range)].picture.contiguous();
  ViewFrame frame;
  frame.header = Json::object({{"items", range}});
  frame.add("pixels", std::span(pixels.data<uint8_t>(), static_cast<size_t>(pixels.numel())),
            {pixels.size(0), pixels.size(1), pixels.size(2)});
  return frame;
}

Json segments(const LoadedTrace& loaded, int side) {
  if (side != 0) fail(ErrorCode::kNotFound, "side {}: this source has one side, 0.", side);
  Json list = Json::array();
  for (const TextSegment& segment : disjoint_segments(loaded.trace().plan().text.segments)) {
    list.push(Json::object({{"name", segment.name},
                            {"role", segment.role.empty() ? Json() : Json(segment.role)},
                            {"begin", segment.begin},
                            {"end", segment.end},
                            {"lang", nullptr}}));
  }
  return Json::object({{"segments", list}});
}

}  // namespace clearhead::viewer::questions
