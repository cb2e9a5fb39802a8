// Items follow the tokens, one range after another. The name of an item is its piece; its text, if it has any, is given by its
// offsets.
#include "observe/trace_items.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "observe/item_kinds.h"

namespace clearhead {
namespace {

constexpr size_t kLongestKind = 32;

// "patches, frames and intervals"
std::string kinds_with_pictures() {
  std::string out;
  for (size_t at = 0; at < kPictureItems.size(); ++at)
    out += std::string(at == 0 ? "" : at + 1 < kPictureItems.size() ? ", " : " and ") + std::string(kPictureItems[at].plural);
  return out;
}

std::string problem_with_picture(const ItemRange& range) {
  const Tensor& picture = range.picture;
  if (!picture.defined()) return "";
  if (!picture_item(range.kind) && !range.boxes.defined())
    return format("only {}, and items with boxes, have a picture", kinds_with_pictures());
  const bool fits = picture.dtype() == DType::kU8 && picture.rank() == 3 && picture.size(2) == 3 && picture.size(0) > 0 &&
                    picture.size(1) > 0 && picture.size(0) <= kMostPixels && picture.size(1) <= kMostPixels;
  if (fits) return "";
  return format("its picture is {} {}; expected u8 [height, width, 3] with a height and width from 1 to {}", to_string(picture.dtype()),
                to_string(picture.shape()), kMostPixels);
}

std::string problem_with_boxes(const ItemRange& range) {
  const Tensor& boxes = range.boxes;
  if (!boxes.defined()) return "";
  if (!range.picture.defined()) return "they have boxes but no picture";
  const int64_t count = range.end - range.begin;
  if (boxes.dtype() != DType::kF32 || boxes.shape() != Shape{count, 4})
    return format("their boxes are {} {}; expected f32 [{}, 4]", to_string(boxes.dtype()), to_string(boxes.shape()), count);
  const Tensor dense = boxes.contiguous();
  for (int64_t at = 0; at < 4 * count; ++at) {
    const float number = dense.data<float>()[at];
    if (!std::isfinite(number) || (at % 4 >= 2 && number < 0))
      return format("number {} of box {} is {}; expected a finite left and top, and a width and height of 0 or more", at % 4, at / 4,
                    number);
  }
  return "";
}

std::string problem_with_ids(const RunText& text, const ItemRange& range) {
  const bool has_text = !picture_item(range.kind);
  for (int64_t id = range.begin; id < range.end; ++id) {
    const size_t at = static_cast<size_t>(id);
    if (text.ids[at] != -1 || text.special[at] != 0) return format("ids[{}] is {}; expected -1, not special", id, text.ids[at]);
    if (text.pieces[at].empty()) return format("id {} has no name", id);
    const auto [begin, end] = text.offsets[at];
    if (begin < 0 || begin > end || end > static_cast<int64_t>(text.text.size()))
      return format("id {} covers bytes [{}, {}), but the text has {}", id, begin, end, text.text.size());
    if (!has_text && begin != end) return format("id {} covers bytes [{}, {}); a {} has no text", id, begin, end, range.kind);
  }
  return "";
}

std::string problem_with_range(const RunText& text, const ItemRange& range, int64_t expected_begin) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; };
  if (range.kind.empty() || range.kind.size() > kLongestKind || !std::all_of(range.kind.begin(), range.kind.end(), is_letter))
    return "their kind must be a word in lower case";
  if (range.begin != expected_begin || range.end <= range.begin || range.end > static_cast<int64_t>(text.ids.size()))
    return format("they are ids [{}, {}); expected a range that begins at {} and ends by {}", range.begin, range.end, expected_begin,
                  text.ids.size());
  const int64_t count = range.end - range.begin;
  const PictureItem* drawn = picture_item(range.kind);
  if (drawn && drawn->in_rows ? range.rows <= 0 || count % range.rows != 0 : range.rows != 0)
    return format("{} of them cannot be arranged in {} rows", count, range.rows);
  std::string problem = problem_with_picture(range);
  if (problem.empty()) problem = problem_with_boxes(range);
  return problem.empty() ? problem_with_ids(text, range) : problem;
}

}  // namespace

std::string problem_with_items(const RunText& text) {
  if (text.items.empty()) return "";
  const size_t count = text.ids.size();
  if (text.offsets.size() != count || text.special.size() != count || text.pieces.size() != count)
    return format("{} ids have {} offsets, {} special flags and {} pieces", count, text.offsets.size(), text.special.size(),
                  text.pieces.size());
  int64_t begin = text.items.front().begin;
  if (begin < 0) return format("they begin at id {}", begin);
  for (size_t i = 0; i < text.items.size(); ++i) {
    const ItemRange& range = text.items[i];
    const std::string problem = problem_with_range(text, range, begin);
    if (!problem.empty()) return format("items[{}], \"{}\": {}", i, range.kind, problem);
    begin = range.end;
  }
  return begin == static_cast<int64_t>(count) ? "" : format("they end at id {}; expected them to end at the last one, {}", begin, count);
}

std::string picture_name(size_t range) { return format("picture{}", range); }
std::string boxes_name(size_t range) { return format("boxes{}", range); }

Json items_to_json(const RunText& text) {
  Json out = Json::array();
  for (size_t i = 0; i < text.items.size(); ++i) {
    const ItemRange& range = text.items[i];
    Json item = Json::object({{"kind", range.kind}, {"begin", range.begin}, {"end", range.end}});
    if (range.rows > 0) item["rows"] = range.rows;
    if (range.picture.defined()) item["picture"] = picture_name(i);
    if (range.boxes.defined()) item["boxes"] = boxes_name(i);
    out.push(std::move(item));
  }
  return out;
}

std::vector<ItemRange> items_from_json(const Json& items, const std::string& where,
                                       const std::function<Tensor(const std::string&)>& tensor) {
  if (!items.is_array()) fail(ErrorCode::kFormat, "{}: plan.items: expected an array, found {}", where, items.describe());
  std::vector<ItemRange> out;
  for (const Json& item : items.items()) {
    Fields fields(item, where, format("plan.items[{}]", out.size()));
    ItemRange range{fields.string("kind"), fields.integer("begin"), fields.integer("end"), fields.integer_or("rows", 0)};
    if (const std::string name = fields.string_or("picture", ""); !name.empty()) range.picture = tensor(name);
    if (const std::string name = fields.string_or("boxes", ""); !name.empty()) range.boxes = tensor(name);
    fields.refuse_rest();
    out.push_back(std::move(range));
  }
  return out;
}

}  // namespace clearhead
