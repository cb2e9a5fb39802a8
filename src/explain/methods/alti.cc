// ALTI: a token's share of a row grows as the vector that it contributes approaches the whole row (Ferrando, Gállego & Costa-jussà 2022).
//
//   t_ij  the vector that token j contributes to row i of a layer (TokenMixing);  y_i = Σ_j t_ij
//   c_ij = max(0, ‖y_i‖₁ − ‖y_i − t_ij‖₁), divided by the sum of its row
//   r ← rᵀC, from the last layer to the first
//
// Biases belong to no token, so y_i does not include them. One row is computed at a time, in O(length · width) memory.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kTokens = 2048;  // limit, because every pair of tokens needs a vector in every layer

// The shares of the tokens in a row.   vectors: f32 [key, width]
Vector shares_of_row(const Tensor& vectors) {
  const int64_t keys = vectors.size(0), width = vectors.size(1);
  const float* of = vectors.data<float>();
  Vector whole(static_cast<size_t>(width)), out(static_cast<size_t>(keys));
  for (int64_t key = 0; key < keys; ++key) {
    for (int64_t c = 0; c < width; ++c) whole[static_cast<size_t>(c)] += static_cast<double>(of[key * width + c]);
  }
  double size = 0, sum = 0;
  for (const double value : whole) size += std::abs(value);
  for (int64_t key = 0; key < keys; ++key) {
    double distance = 0;
    for (int64_t c = 0; c < width; ++c) distance += std::abs(whole[static_cast<size_t>(c)] - static_cast<double>(of[key * width + c]));
    sum += out[static_cast<size_t>(key)] = std::max(0.0, size - distance);
  }
  for (double& share : out) share = sum > 0 ? share / sum : 0;
  return out;
}

Vector alti(const AttributionTarget& target, const AttributionOptions& options) {
  const int64_t tokens = ids_of_side(target.plan(), target.side()).size();
  if (tokens > kTokens)
    fail(ErrorCode::kBudget, "{}: ALTI compares every pair of tokens in every layer; expected a text of at most {} tokens, found {}",
         target.name(), kTokens, tokens);
  Vector r = start(target, tokens);
  const std::vector<int> layers = layers_of_answer(target);
  for (size_t left = layers.size(); left > 0; --left) {
    Vector next(r.size());
    for (int64_t row = 0; row < tokens; ++row) {
      check_cancelled(options);
      if (r[static_cast<size_t>(row)] > 0)
        add(next, shares_of_row(target.mixed_vectors(layers[left - 1], row)), r[static_cast<size_t>(row)]);
    }
    r = std::move(next);
    if (options.progress) options.progress(static_cast<double>(layers.size() - left + 1) / static_cast<double>(layers.size()));
  }
  return by_id(target, target.side(), r);
}

}  // namespace

const Method& alti_method() {
  static const Method method = {
      .order = 55,
      .name = "alti",
      .what = "proximity of each token's vector to the whole row, multiplied through all layers (Ferrando et al. 2022)",
      .is_for_short_texts = true,
      .of_ids = alti,
      .runs = [](const AttributionTarget& target,
                 const AttributionOptions&) { return static_cast<int64_t>(layers_of_answer(target).size()); },
  };
  return method;
}

}  // namespace clearhead::explain
