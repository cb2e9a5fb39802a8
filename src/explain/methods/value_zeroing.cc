// Value zeroing: a token's share of a row grows with the change of the row's state when the token's value vector is zero (Mohebbi et al.
// 2023).
//
//   x_i  the state of row i after a layer;  x_i^j  the same with a value vector of zero for token j, and the same weights
//   c_ij = 1 − cos(x_i, x_i^j), divided by the sum of its row
//   r ← rᵀC, from the last layer to the first
//
// One layer's C is kept at a time, in O(length²) memory.
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kTokens = 1024;  // limit, because the layer is computed once for each token

// 1 − cos(a, b), as half the squared distance of the unit vectors: accurate for vectors that are almost parallel.
double cosine_distance(const float* a, const float* b, int64_t width) {
  double of_a = 0, of_b = 0, square = 0;
  for (int64_t c = 0; c < width; ++c) {
    of_a += std::pow(static_cast<double>(a[c]), 2);
    of_b += std::pow(static_cast<double>(b[c]), 2);
  }
  if (of_a == 0 || of_b == 0) return of_a == of_b ? 0 : 1;
  const double scale_a = 1 / std::sqrt(of_a), scale_b = 1 / std::sqrt(of_b);
  for (int64_t c = 0; c < width; ++c) square += std::pow(static_cast<double>(a[c]) * scale_a - static_cast<double>(b[c]) * scale_b, 2);
  return square / 2;
}

Vector value_zeroing(const AttributionTarget& target, const AttributionOptions& options) {
  const int64_t tokens = ids_of_side(target.plan(), target.side()).size();
  if (tokens > kTokens)
    fail(ErrorCode::kBudget, "{}: value zeroing computes every layer once for each token; expected a text of at most {} tokens, found {}",
         target.name(), kTokens, tokens);
  const auto count = static_cast<size_t>(tokens);
  Vector r = start(target, tokens);
  const std::vector<int> layers = layers_of_answer(target);
  for (size_t left = layers.size(); left > 0; --left) {
    const int layer = layers[left - 1];
    const Tensor states = target.states_without_value(layer, -1);
    const int64_t width = states.size(1);
    std::vector<Vector> of_rows(count, Vector(count));  // C
    for (int64_t token = 0; token < tokens; ++token) {
      check_cancelled(options);
      const Tensor without = target.states_without_value(layer, token);
      for (int64_t row = 0; row < tokens; ++row) {
        if (r[static_cast<size_t>(row)] > 0)
          of_rows[static_cast<size_t>(row)][static_cast<size_t>(token)] =
              cosine_distance(states.data<float>() + row * width, without.data<float>() + row * width, width);
      }
      if (options.progress)
        options.progress((static_cast<double>(layers.size() - left) + static_cast<double>(token + 1) / static_cast<double>(tokens)) /
                         static_cast<double>(layers.size()));
    }
    Vector next(count);
    for (size_t row = 0; row < count; ++row) {
      double sum = 0;
      for (const double distance : of_rows[row]) sum += distance;
      if (sum > 0) add(next, of_rows[row], r[row] / sum);
    }
    r = std::move(next);
  }
  return by_id(target, target.side(), r);
}

}  // namespace

const Method& value_zeroing_method() {
  static const Method method = {
      .order = 57,
      .name = "value-zeroing",
      .what = "change of each layer's states without the token's value vector, multiplied through all layers (Mohebbi et al. 2023)",
      .is_for_short_texts = true,
      .of_ids = value_zeroing,
      .runs =
          [](const AttributionTarget& target, const AttributionOptions&) {
            return static_cast<int64_t>(layers_of_answer(target).size()) * ids_of_side(target.plan(), target.side()).size();
          },
  };
  return method;
}

}  // namespace clearhead::explain
