// Edits as changes of a description: a head's mask becomes 0, pairs leave the visibility rule.
#include <algorithm>

#include "base/format.h"
#include "clearhead/map.h"

namespace clearhead {
namespace {

// Both of two visibility rules in one.
Rule both(const Rule& a, const Rule& b) {
  Rule out = a;
  const auto nodes = static_cast<int32_t>(a.nodes.size()), tables = static_cast<int32_t>(a.tables.size());
  for (RuleNode node : b.nodes) {
    for (int32_t& argument : node.arguments) argument += argument >= 0 ? nodes : 0;
    node.table += node.table >= 0 ? tables : 0;
    out.nodes.push_back(node);
  }
  out.tables.insert(out.tables.end(), b.tables.begin(), b.tables.end());
  out.nodes.push_back({.op = RuleOp::kAnd, .arguments = {nodes - 1, static_cast<int32_t>(out.nodes.size()) - 1, -1, -1}});
  return out;
}

void check(const char* what, const Edits::Pairs& pairs, int64_t heads) {
  for (const auto& [axis, range] : {std::pair{"queries", pairs.queries}, std::pair{"keys", pairs.keys}}) {
    if (range.begin < 0 || range.end < range.begin) {
      fail(ErrorCode::kInvalidArgument, "{}: {} {} to {}; expected a range that begins at 0 or later and does not run backwards", what,
           axis, range.begin, range.end);
    }
  }
  if (pairs.head && (*pairs.head < 0 || *pairs.head >= heads))
    fail(ErrorCode::kInvalidArgument, "{}: head {}; heads are 0 to {}", what, *pairs.head, heads - 1);
}

Rule rule_of(const Edits::Pairs& pairs, bool keep_only) {
  return visible([&](RulePair at) {
    const auto inside = [](RuleValue x, Range range) { return x >= range.begin && x < range.end; };
    const RuleTruth keys = inside(at.key, pairs.keys);
    RuleTruth hit = inside(at.query, pairs.queries) && (keep_only ? !keys : keys);
    if (pairs.head) hit = hit && at.head == *pairs.head;
    return !hit;
  });
}

void hide(Topology& topology, const Rule& rule) { topology.visible = topology.visible ? both(*topology.visible, rule) : rule; }

}  // namespace

AttentionSpec edited(const AttentionSpec& spec, const Edits& edits, int layer, int64_t heads) {
  AttentionSpec out = spec;
  std::vector<float> mask(static_cast<size_t>(heads), 1);
  for (int64_t head = 0; spec.after.head_mask && head < heads; ++head) {
    mask[static_cast<size_t>(head)] = spec.after.head_mask->data<float>()[head * spec.after.head_mask->stride(0)];
  }
  bool masked = false;
  for (const Edits::Head& head : edits.knocked_out) {
    if (head.layer != layer) continue;
    if (head.head < 0 || head.head >= heads) {
      fail(ErrorCode::kInvalidArgument, "knocked-out head L{}.H{}; heads are 0 to {}", head.layer, head.head, heads - 1);
    }
    mask[static_cast<size_t>(head.head)] = 0;
    masked = true;
  }
  if (masked) out.after.head_mask = Tensor::from(mask, {heads});
  for (const Edits::Pairs& pairs : edits.cut) {
    check("a cut", pairs, heads);
    if (!pairs.layer || *pairs.layer == layer) hide(out.topology, rule_of(pairs, false));
  }
  for (const Edits::Pairs& pairs : edits.keep_only) {
    check("a keep-only", pairs, heads);
    if (!pairs.layer || *pairs.layer == layer) hide(out.topology, rule_of(pairs, true));
  }
  return out;
}

}  // namespace clearhead
