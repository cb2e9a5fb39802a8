// Gradients of attention by the chain rule, one row at a time, in double.
//
//   dP_ij = a_ij dO_i·v_j (a_ij: after.h)     dS_ij = g_ij·(dP_ij − D_i) (normalise.h)     dV_j = Σ_i P_ij a_ij dO_i
//   softmax: D_i is reduced by the gradient of L_i, the row's log-sum-exp
//   dS → through the terms in reverse, adding to their operands' gradients → through the score function
//        (score_function.h); for the dot product: dQ_i = scale Σ_j dS_ij k_j, and dK_j likewise
//
// Every sum is accompanied by its size, the same sum over absolute values. Errors are measured relative to the size.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "backends/backend.h"

namespace clearhead::reference {

/// A sum and its size: the sum of the absolute values of its addends.
struct Sum {
  double value = 0, size = 0;
  void add(double part, double part_size) {
    value += part;
    size += part_size;
  }
};

/// Gradients of a description's operands. Each is [numel], row-major in the operand's shape; empty for operands that are
/// not f32.
class OperandSums {
 public:
  explicit OperandSums(const AttentionSpec& spec);
  /// `operand` must be an operand of the same spec object; `index` counts row-major elements.
  Sum& at(const Tensor& operand, int64_t index) { return sums_[places_.at(&operand)][static_cast<size_t>(index)]; }
  /// One entry per operand, in the order of for_each_operand.
  const std::vector<std::vector<Sum>>& all() const { return sums_; }

 private:
  std::map<const Tensor*, size_t> places_;
  std::vector<std::vector<Sum>> sums_;
};

struct Gradients {
  std::vector<Sum> q{}, k{}, v{};  // row-major in the shapes of q, k, v
  OperandSums operands;
  // The maximum over all rows of OracleRow::largest (oracle.h), without sink logits.
  double largest = 0;
  explicit Gradients(const AttentionSpec& spec) : operands(spec) {}
};

/// q, k, v and d_out have the same dtype. Weights are computed from the record's row statistics or, with `exact`, from
/// the scores alone. d_log_sum_exp: see BackwardCall.
Gradients gradients(const AttentionRecord& record, const Tensor& v, const Tensor& d_out, bool exact, const Tensor& d_log_sum_exp = {});

void backward(const BackwardCall& call);

}  // namespace clearhead::reference
