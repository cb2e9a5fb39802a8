// The bias of a chain depends on all scores of a query, so they are computed here before the engine computes them again.
#include "models/normaliser.h"

#include "base/format.h"
#include "models/networks/networks.h"
#include "ops/chain.h"
#include "ops/compute_state.h"

namespace clearhead {
namespace {

// The scores of all pairs: [batch, 1, n, key].
Tensor pair_scores(Compute& compute, const Memory& memory, const Tensor& queries, const Score& score) {
  const int64_t batch = memory.layout.batch, keys = memory.layout.length, n = queries.size(0) / batch, d = queries.size(1);
  const Tensor q = queries.reshape({batch, n, 1, d}).expand({batch, n, keys, d});
  const Tensor k = memory.keys.reshape({batch, 1, keys, d}).expand({batch, n, keys, d});
  if (const auto* additive = std::get_if<Additive>(&score); additive && additive->activation == Additive::Activation::kTanh) {
    const Tensor hidden = compute.activate("tanh", compute.add(q, k));
    return compute.linear(hidden.reshape({batch * n * keys, d}), additive->weight).reshape({batch, 1, n, keys});
  }
  const auto* dot = std::get_if<Dot>(&score);
  if (!dot || dot->scale != 1.0F)
    fail(ErrorCode::kUnsupported, "structured attention: expected a dot product with scale 1 or an additive score with tanh");
  return compute.sum(compute.multiply(q, k), 3).reshape({batch, 1, n, keys});
}

}  // namespace

ConfiguredNormaliser::ConfiguredNormaliser(Fields& config, const Scope& scope)
    : name_(choice_of(config, "normaliser", {"softmax", "sparsemax", "entmax15", "chain"})) {
  if (name_ == "sparsemax") normaliser_ = Sparsemax{};
  if (name_ == "entmax15") normaliser_ = Entmax15{};
  if (name_ == "chain") transitions_ = scope.parameter("transitions", {2, 2}, Init::zeros());
}

AttentionSpec ConfiguredNormaliser::described(Compute& compute, const Memory& memory, const Tensor& queries, AttentionSpec spec) const {
  spec.normaliser = normaliser_;
  if (!transitions_.defined()) return spec;
  const Tensor scores = pair_scores(compute, memory, queries, spec.score);
  Tensor bias = compute.state().run.result(scores.shape());
  ops::chain_bias(compute.state().run, scores, transitions_, memory.layout.lengths, bias);
  spec.terms.emplace_back(AttentionBias{bias});
  return spec;
}

}  // namespace clearhead
