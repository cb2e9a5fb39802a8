// Dropout, head mask and Gaussian of one (query, key) pair, and their gradients. Every sum carries its size (backward.h).
#include "backends/ref/after.h"

#include <cmath>

#include "backends/ref/backward.h"
#include "spec/keep.h"
#include "spec/visible.h"

namespace clearhead::reference {
namespace {

struct Factors {
  double keep = 1, mask = 1, gaussian = 1;
  double ahead = 0;  // (j − c)/σ²
};

Factors factors_of(const RowOfScores& at, int64_t key) {
  const AfterNormaliser& after = at.spec.after;
  Factors out;
  if (after.dropout) {
    const bool kept = keeps(*after.dropout, noise_of(after.dropout->seed, at.batch, at.head, at.query), key);
    out.keep = kept ? 1 / (1 - static_cast<double>(after.dropout->rate)) : 0;
  }
  if (after.head_mask) out.mask = static_cast<double>(after.head_mask->data<float>()[at.head * after.head_mask->stride(0)]);
  if (after.gaussian) {
    const Tensor& centres = after.gaussian->centres;
    const int64_t place = at.batch * broadcast_stride(centres, 0) + at.head * broadcast_stride(centres, 1) + at.query * centres.stride(2);
    const double distance = static_cast<double>(key) - static_cast<double>(centres.data<float>()[place]);
    const double sigma = static_cast<double>(after.gaussian->sigma);
    out.gaussian = std::exp(-distance * distance / (2 * sigma * sigma));
    out.ahead = distance / (sigma * sigma);
  }
  return out;
}

}  // namespace

double after_of(const RowOfScores& at, int64_t key) {
  const Factors factors = factors_of(at, key);
  return factors.keep * factors.mask * factors.gaussian;
}

Sum reverse_after(const RowOfScores& at, int64_t key, double weight, double weight_size, Sum d_after, OperandSums& operands) {
  const AfterNormaliser& after = at.spec.after;
  if (!after.dropout && !after.head_mask && !after.gaussian) return d_after;
  const Factors factors = factors_of(at, key);
  const auto add = [&](const Tensor& operand, int64_t index, double factor) {
    operands.at(operand, index).add(weight * d_after.value * factor, weight_size * d_after.size * std::abs(factor));
  };
  if (after.head_mask) add(*after.head_mask, at.head, factors.keep * factors.gaussian);
  const double all = factors.keep * factors.mask * factors.gaussian;
  if (after.gaussian) {
    const Tensor& centres = after.gaussian->centres;
    const int64_t batch = centres.size(0) == 1 ? 0 : at.batch, head = centres.size(1) == 1 ? 0 : at.head;
    add(centres, (batch * centres.size(1) + head) * centres.size(2) + at.query, all * factors.ahead);
  }
  return {d_after.value * all, d_after.size * std::abs(all)};
}

}  // namespace clearhead::reference
