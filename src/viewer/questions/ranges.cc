// Ranges are [begin, end) everywhere. In a union, overlapping parts count once.
#include "viewer/questions/ranges.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::viewer::questions {

void check_ranges(const std::vector<Range>& ranges, int64_t length, const char* what) {
  if (ranges.empty()) fail(ErrorCode::kInvalidArgument, "{}: no range given; expected [[begin, end], …].", what);
  for (const Range& range : ranges) {
    if (range.begin < 0 || range.end > length || range.size() <= 0) {
      fail(ErrorCode::kInvalidArgument, "{}: [{}, {}] is not a range inside [0, {}].", what, range.begin, range.end, length);
    }
  }
}

std::vector<Range> united(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](Range a, Range b) { return a.begin < b.begin; });
  std::vector<Range> out;
  for (const Range& range : ranges) {
    if (!out.empty() && range.begin <= out.back().end) {
      out.back().end = std::max(out.back().end, range.end);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

int64_t count_of(const std::vector<Range>& ranges) {
  int64_t count = 0;
  for (const Range& range : ranges) count += range.size();
  return count;
}

Json range_json(Range range) { return Json(Json::Array{range.begin, range.end}); }

Json ranges_json(const std::vector<Range>& ranges) {
  Json out = Json::array();
  for (const Range& range : ranges) out.push(range_json(range));
  return out;
}

}  // namespace clearhead::viewer::questions
