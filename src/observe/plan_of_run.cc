// The plan of a run, built from its attention calls: the families, their number of layers, and what their rows and columns are.
#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"

namespace clearhead {
namespace {

// The range of ids that the rows or columns of a map cover, by the name in its Site; {0, −1} for an unknown name.
Range side_of(const RunText& text, const std::string& name) {
  const auto count = static_cast<int64_t>(text.ids.size());
  if (name.empty()) return {0, text.items.empty() ? count : text.items.front().begin};
  for (const TextSegment& segment : text.segments) {
    if (segment.name == name) return {segment.begin, segment.end};
  }
  for (const ItemRange& items : text.items) {
    if (items.kind == name) return {items.begin, items.end};
  }
  return {0, -1};
}

class Sites final : public Observer {
 public:
  explicit Sites(const RunText& text) : text_(text) {}
  void begin(const RunPlan&) override {}
  bool wants(const Site&) override { return true; }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms&) override {
    auto known = std::find_if(families.begin(), families.end(), [&](const MapFamily& family) { return family.name == site.family; });
    if (known != families.end()) {
      known->layers = std::max(known->layers, site.layer + 1);
      return;
    }
    MapFamily family{.name = site.family, .layers = site.layer + 1};
    family.heads = record.q.size(1);
    family.d_k = record.q.size(3);
    const Keys& keys = record.keys;
    family.key_heads = std::holds_alternative<Tensor>(keys) ? std::get<Tensor>(keys).size(1) : family.heads;
    family.queries = record.rows_kept();
    family.keys = key_length(keys);
    family.causal = record.spec.topology.band.ahead == int64_t{0};
    const Range queries = checked(site, site.queries, family.queries, "queries"), key_side = checked(site, site.keys, family.keys, "keys");
    family.first_query = queries.begin;
    family.first_key = key_side.begin;
    family.is_part = !text_.items.empty() || !site.queries.empty() || !site.keys.empty();
    families.push_back(family);
  }
  std::vector<MapFamily> families{};

 private:
  Range checked(const Site& site, const std::string& name, int64_t found, const char* what) const {
    const Range range = side_of(text_, name);
    if (range.size() == found) return range;
    fail(ErrorCode::kInvalidArgument, "plan: the {} of family \"{}\" are {}; the attention call has {} of them, the text has {}", what,
         site.family, name.empty() ? "tokens" : "\"" + name + "\"", found,
         range.size() < 0 ? "neither a segment nor items of that name" : std::to_string(range.size()));
  }
  const RunText& text_;
};

}  // namespace

RunPlan plan_of_run(const std::string& model, RunText text, const std::function<void(Observer&)>& run) {
  Sites sites(text);
  run(sites);
  // The families nearest to the output come first, except that cross-attention comes before all: it is the map of interest for a
  // translation.
  std::reverse(sites.families.begin(), sites.families.end());
  std::stable_partition(sites.families.begin(), sites.families.end(), [](const MapFamily& family) { return family.name == "cross"; });
  return {.model = model, .families = std::move(sites.families), .text = std::move(text)};
}

}  // namespace clearhead
