// Applies interventions to a description: the mask of an ablated head becomes 0, the visibility rule hides knocked-out pairs, and each
// change of scores becomes one more score term.
#include <algorithm>
#include <map>
#include <tuple>

#include "base/format.h"
#include "clearhead/observer.h"

namespace clearhead {
namespace {

constexpr size_t kFewRanges = 8;  // more ranges are looked up in a table: a rule has at most 1,024 nodes

// The conjunction of two visibility rules.
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

void check(const char* what, const Interventions::Pairs& pairs, int64_t heads) {
  for (const auto& [axis, range] : {std::pair{"queries", pairs.queries}, std::pair{"keys", pairs.keys}}) {
    if (range.begin < 0 || range.end < range.begin) {
      fail(ErrorCode::kInvalidArgument, "{}: {} {} to {}; expected a range with 0 <= begin <= end", what, axis, range.begin, range.end);
    }
  }
  if (pairs.head && (*pairs.head < 0 || *pairs.head >= heads))
    fail(ErrorCode::kInvalidArgument, "{}: head {} is out of range; heads are 0 to {}", what, *pairs.head, heads - 1);
}

// The position of a query within its sequence.
RuleValue place_of(RuleValue query, const InterventionSite& site) {
  if (!site.cross_queries) return query;
  const int64_t length = site.cross_queries->end - site.cross_queries->begin;
  return query - length * floor(query / length) + site.cross_queries->begin;
}

Rule rule_of(const Interventions::Pairs& pairs, bool keep_only, const InterventionSite& site) {
  return visible([&](RulePair at) {
    const auto inside = [](RuleValue x, Range range) { return x >= range.begin && x < range.end; };
    const RuleTruth keys = inside(at.key, pairs.keys);
    RuleTruth hit = inside(place_of(at.query, site), pairs.queries) && (keep_only ? !keys : keys);
    if (pairs.head) hit = hit && at.head == *pairs.head;
    return !hit;
  });
}

// Combines many knockouts that differ only in their range of keys into one table lookup per pair. Keys beyond the table clamp to
// its last entry, which hides nothing.
Rule rule_of_many(const std::vector<Interventions::Pairs>& alike, const InterventionSite& site) {
  int64_t end = 0;
  for (const Interventions::Pairs& pairs : alike) end = std::max(end, pairs.keys.end);
  const Tensor hidden = Tensor::zeros({end + 1});
  for (const Interventions::Pairs& pairs : alike)
    std::fill(Tensor(hidden).mutable_data<float>() + pairs.keys.begin, Tensor(hidden).mutable_data<float>() + pairs.keys.end, 1.0F);
  const Interventions::Pairs& first = alike.front();
  return visible([&](RulePair at) {
    const RuleValue query = place_of(at.query, site);
    RuleTruth hit = query >= first.queries.begin && query < first.queries.end && table(hidden)(at.key) > 0;
    if (first.head) hit = hit && at.head == *first.head;
    return !hit;
  });
}

Rule term_of(const Interventions::Scores& scores, const InterventionSite& site) {
  const Tensor& added = scores.added;
  if (added.dtype() != DType::kF32 || added.rank() != 2 || added.size(0) != site.heads)
    fail(ErrorCode::kShape, "scores of a query: {} {}; expected f32 [{} heads, key]", to_string(added.dtype()), to_string(added.shape()),
         site.heads);
  if (scores.query && *scores.query < 0)
    fail(ErrorCode::kInvalidArgument, "scores of query {}; expected a query of 0 or more", *scores.query);
  return rule([&](RuleValue score, RulePair at) {
    const RuleValue value = table(added)(at.head, at.key), changed = scores.replaces ? value : score + value;
    return scores.query ? where(place_of(at.query, site) == *scores.query, changed, score) : changed;
  });
}

bool reads_query(const Rule& rule) {
  return std::any_of(rule.nodes.begin(), rule.nodes.end(), [](const RuleNode& node) { return node.op == RuleOp::kQuery; });
}

// True if the position of a query among the keys affects which keys it sees, or their scores.
bool reads_positions(const AttentionSpec& spec) {
  const auto does = [](const Term& term) {
    const Rule* rule = std::get_if<Rule>(&term);
    return std::holds_alternative<Alibi>(term) || (rule && reads_query(*rule));
  };
  const Topology& topology = spec.topology;
  return std::holds_alternative<Relative>(spec.score) || std::any_of(spec.terms.begin(), spec.terms.end(), does) || topology.band.back ||
         topology.band.ahead || (topology.visible && reads_query(*topology.visible));
}

// Sets the band to Align::kStart, because interventions on cross-attention count its queries from 0, wherever the keys end. Throws
// kUnsupported if that would change the attention itself: if the band is aligned otherwise and the score, a term, the band or the
// visibility rule depends on the positions of queries.
void count_from_first(AttentionSpec& spec, const char* what) {
  if (spec.topology.band.align == Align::kStart && spec.topology.band.offset == 0) return;
  if (reads_positions(spec)) {
    fail(
        ErrorCode::kUnsupported,
        "{}: the description of this cross-attention reads positions and aligns the last query with the last key; expected one that counts "
        "both texts from their beginnings (Align::kStart)",
        what);
  }
  spec.topology.band.align = Align::kStart;
  spec.topology.band.offset = 0;
}

void hide(Topology& topology, const Rule& rule) { topology.visible = topology.visible ? both(*topology.visible, rule) : rule; }

}  // namespace

AttentionSpec with_interventions(const AttentionSpec& spec, const Interventions& interventions, const InterventionSite& site) {
  AttentionSpec out = spec;
  std::vector<float> mask(static_cast<size_t>(site.heads), 1);
  for (int64_t head = 0; spec.after.head_mask && head < site.heads; ++head) {
    mask[static_cast<size_t>(head)] = spec.after.head_mask->data<float>()[head * spec.after.head_mask->stride(0)];
  }
  const auto is_here = [&](const std::string& family) { return family.empty() || family == site.family; };
  bool masked = false;
  for (const Interventions::Head& head : interventions.ablated) {
    if (head.layer != site.layer || !is_here(head.family)) continue;
    if (head.head < 0 || head.head >= site.heads) {
      fail(ErrorCode::kInvalidArgument, "ablated head L{}.H{} is out of range; heads are 0 to {}", head.layer, head.head, site.heads - 1);
    }
    mask[static_cast<size_t>(head.head)] = 0;
    masked = true;
  }
  if (masked) out.after.head_mask = Tensor::from(mask, {site.heads});
  const auto hide_pairs = [&](const std::vector<Interventions::Pairs>& all, const char* what, bool keep_only) {
    std::map<std::tuple<int64_t, int64_t, int64_t>, std::vector<Interventions::Pairs>>
        alike;  // by range of queries and head, −1 for all heads
    for (const Interventions::Pairs& pairs : all) {
      if (!is_here(pairs.family)) continue;
      check(what, pairs, site.heads);
      if (pairs.layer && *pairs.layer != site.layer) continue;
      if (site.cross_queries) count_from_first(out, what);
      alike[{pairs.queries.begin, pairs.queries.end, pairs.head.value_or(-1)}].push_back(pairs);
    }
    for (const auto& [_, group] : alike) {
      if (!keep_only && group.size() > kFewRanges) {
        hide(out.topology, rule_of_many(group, site));
        continue;
      }
      for (const Interventions::Pairs& pairs : group) hide(out.topology, rule_of(pairs, keep_only, site));
    }
  };
  hide_pairs(interventions.knockouts, "an attention knockout", false);
  hide_pairs(interventions.keep_only, "a keep-only", true);
  for (const Interventions::Scores& scores : interventions.scores) {
    if (scores.layer != site.layer || !is_here(scores.family)) continue;
    if (site.cross_queries) count_from_first(out, "scores of a query");
    out.terms.push_back(term_of(scores, site));
  }
  return out;
}

}  // namespace clearhead
