// Maps: keeps a pinned record for each site of a run.
#include <algorithm>
#include <utility>

#include "base/format.h"
#include "clearhead/map.h"

namespace clearhead {
namespace {

bool is_same(const Site& a, const Site& b) { return a.family == b.family && a.layer == b.layer && a.step == b.step; }

}  // namespace

void Maps::take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) {
  Kept kept{site, AttentionMap(record.pin()), norms};
  const auto earlier = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& other) { return is_same(other.site, site); });
  if (earlier == kept_.end()) {
    kept_.push_back(std::move(kept));
  } else {
    *earlier = std::move(kept);
  }
}

const AttentionMap& Maps::at(const std::string& family, int layer, int64_t step) const {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) { return is_same(kept.site, {family, layer, step}); });
  if (found != kept_.end()) return found->map;
  constexpr size_t kShown = 12;
  std::string sites;
  for (size_t i = 0; i < std::min(kept_.size(), kShown); ++i) {
    const Site& site = kept_[i].site;
    sites += format("{}{} {} at step {}", i == 0 ? "" : ", ", site.family, site.layer, site.step);
  }
  fail(ErrorCode::kNotFound, "maps: no attention of family \"{}\", layer {}, step {}; available: {}{}", family, layer, step,
       kept_.empty() ? "none" : sites, kept_.size() > kShown ? ", …" : "");
}

}  // namespace clearhead
