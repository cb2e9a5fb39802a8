// The decrease in the answer's probability when an item is removed (Zeiler & Fergus 2014).
#include <algorithm>
#include <limits>

#include "explain/attribution_parts.h"

namespace clearhead::explain {
namespace {

Vector occlusion(const AttributionTarget& target, const AttributionOptions& options) {
  constexpr size_t kTogether = 64;
  const size_t items = target.items().size();
  Vector out(items, std::numeric_limits<double>::quiet_NaN());
  for (size_t begin = 0; begin < items; begin += kTogether) {
    if (options.cancel && options.cancel->load()) return out;
    std::vector<std::vector<uint8_t>> sets;
    for (size_t item = begin; item < std::min(items, begin + kTogether); ++item) {
      sets.emplace_back(items);
      sets.back()[item] = 1;
    }
    const std::vector<double> without = target.answers(sets, options.removal);
    for (size_t at = 0; at < without.size(); ++at) out[begin + at] = target.probability() - without[at];
    if (options.progress) options.progress(static_cast<double>(std::min(items, begin + kTogether)) / static_cast<double>(items));
  }
  return out;
}

}  // namespace

const Method& occlusion_method() {
  static const Method method = {
      .order = 100,
      .name = "occlusion",
      .what = "decrease in the answer's probability when the item is removed",
      .removes_items = true,
      .of_items = occlusion,
      .runs = [](const AttributionTarget& target, const AttributionOptions&) { return static_cast<int64_t>(target.items().size()); },
  };
  return method;
}

}  // namespace clearhead::explain
