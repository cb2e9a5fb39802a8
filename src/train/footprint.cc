// Counts the parameters of attention, MLP and token embeddings from the architecture's sizes. Other parameters are few and not counted.
#include "train/footprint.h"

#include <algorithm>

#include "base/format.h"
#include "base/memory.h"
#include "clearhead/error.h"

namespace clearhead::train {
namespace {

double of(int64_t number) { return static_cast<double>(number); }

double parameters_of(const Architecture& facts) {
  const double attention = 2 * of(facts.width) * of(facts.head_dim) * (of(facts.heads) + of(facts.key_heads));
  const double maps = facts.layer.mlp.kind == MlpFacts::Kind::kGated ? 3 : facts.layer.mlp.kind == MlpFacts::Kind::kPlain ? 2 : 0;
  return of(facts.layers) * (attention + maps * of(facts.width) * of(facts.mlp_width));
}

double sums_of(const OptimiserOptions& optimiser) {
  if (optimiser.kind != OptimiserOptions::Kind::kSgd) return 2;
  return optimiser.momentum > 0 ? 1 : 0;
}

}  // namespace

Footprint least_footprint(const Architecture& facts, const tasks::Recipe& recipe) {
  double parameters = of(facts.vocabulary) * of(facts.width) + parameters_of(facts), layers = of(facts.layers);
  if (facts.encoder) {
    parameters += parameters_of(*facts.encoder);
    layers += of(facts.encoder->layers);
  }
  const double element = recipe.precision == DType::kF32 ? 4 : 2;
  // A micro-batch of pairs may have fewer tokens than the recipe allows; this depends on the data.
  return {.held = parameters * (8 + 4 * sums_of(recipe.optimiser)),
          .part = recipe.pairs ? 0 : of(recipe.batch) * of(recipe.length) * (layers * of(facts.width) + of(facts.vocabulary)) * element};
}

void check_fits(const Architecture& facts, const tasks::Recipe& recipe) {
  const Footprint least = least_footprint(facts, recipe);
  const auto memory = static_cast<double>(physical_memory());
  if (least.held + least.part <= memory) return;
  const auto size = [](double bytes) { return human_bytes(static_cast<uint64_t>(std::min(bytes, 1e18))); };
  fail(ErrorCode::kBudget,
       "{}: this run takes at least {} for parameters, gradients and optimiser state (\"model\") and {} for a micro-batch "
       "(\"batch\" {} x \"length\" {}); the machine has {}. Reduce the larger one; accumulate=N makes a step of N micro-batches",
       recipe.where, size(least.held), size(least.part), with_commas(recipe.batch), with_commas(recipe.length), size(memory));
}

}  // namespace clearhead::train
