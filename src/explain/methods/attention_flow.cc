// Attention flow: the maximum flow through the maps of all layers (flow.h), for short texts.
#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"
#include "explain/flow.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kFlowTokens = 128;  // limit, because one search per token runs over all weights

// For a single stack of tokens. The capacities of each layer are ½P + ½I, as in rollout.
Vector flow(const AttributionTarget& target, const AttributionOptions& options) {
  Records records;
  target.run(&records);
  const MapFamily& family = target.plan().families.front();
  if (target.plan().families.size() != 1 || family.queries != family.keys || family.is_part)
    fail(ErrorCode::kUnsupported, "why: attention flow needs a model with self-attention over a single sequence, which {} does not have",
         target.name());
  const int64_t tokens = family.keys;
  if (tokens > kFlowTokens)
    fail(ErrorCode::kBudget, "why: attention flow searches all weights once per token; expected a text of at most {} tokens, found {}",
         kFlowTokens, tokens);
  std::vector<Vector> layers;
  for (const Records::Kept& kept : records.kept) {
    const AttentionMap map = kept.map.after();
    Vector capacities(static_cast<size_t>(tokens * tokens));
    const int64_t heads = map.shape().heads;
    for (int64_t head = 0; head < heads; ++head) {
      const Tensor weights = map.head(0, head).tile({.queries = {0, tokens}, .keys = {0, tokens}}).max;
      for (size_t i = 0; i < capacities.size(); ++i) {
        const float weight = weights.data<float>()[i];
        if (weight > 0) capacities[i] += static_cast<double>(weight) / (2 * static_cast<double>(heads));
      }
    }
    for (int64_t i = 0; i < tokens; ++i) capacities[static_cast<size_t>(i * tokens + i)] += 0.5;
    layers.push_back(std::move(capacities));
  }
  check_cancelled(options);
  Vector out(static_cast<size_t>(tokens));
  for (const int64_t row : target.rows()) add(out, attention_flow(layers, tokens, row), 1 / static_cast<double>(target.rows().size()));
  return out;
}

}  // namespace

const Method& attention_flow_method() {
  static const Method method = {
      .order = 20,
      .name = "flow",
      .what = "maximum flow through the weights of all layers (Abnar & Zuidema 2020)",
      .is_for_short_texts = true,
      .of_ids = flow,
  };
  return method;
}

}  // namespace clearhead::explain
