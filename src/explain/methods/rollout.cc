// Rollout: the product of the maps of all layers, half residual (Abnar & Zuidema 2020, section 3.1).
//   r ← ½r + ½·mean_h rᵀP, from the last layer to the first
#include "explain/attribution_parts.h"

namespace clearhead::explain {
namespace {

Vector rollout(const AttributionTarget& target, const AttributionOptions& options) {
  Records records;
  target.run(&records);
  Shares shares(target);
  for (size_t left = records.kept.size(); left > 0; --left) {
    check_cancelled(options);
    const auto& [site, map, norms] = records.kept[left - 1];
    if (map.shape().batch != 1) continue;  // attention within each item, not between items
    Vector& r = shares.of(query_side(site), map.shape().queries);
    const Vector read = mean_of_heads(map.after().transposed_times(row_tensor(r), {.cancel = options.cancel}));
    for (double& share : r) share *= 0.5;
    add(shares.of(key_side(site), map.shape().keys), read, 0.5);
    if (options.progress) options.progress(static_cast<double>(records.kept.size() - left + 1) / static_cast<double>(records.kept.size()));
  }
  return shares.of_ids();
}

}  // namespace

const Method& rollout_method() {
  static const Method method = {
      .order = 10,
      .name = "rollout",
      .what = "weights of all layers multiplied (Abnar & Zuidema 2020)",
      .of_ids = rollout,
  };
  return method;
}

}  // namespace clearhead::explain
