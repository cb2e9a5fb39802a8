// Gradients of attention by the chain rule, one row of double weights at a time.
//
//   dP_ij = dO_i·v_j     dS_ij = g_ij·(dP_ij − D_i) (normalise.h)     dV_j = Σ_i P_ij dO_i
//   dS → through the terms in reverse, each operand taking its share → through the pair (pair.h), for the dot: dQ_i = scale Σ_j dS_ij k_j, dK_j alike
//
// Every sum is kept a second time over absolute values: its size, which errors are measured in.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "backends/contract.h"

namespace clearhead::reference {

/// A sum and the sum of its absolute parts.
struct Sum {
  double value = 0, size = 0;
  void add(double part, double part_size) {
    value += part;
    size += part_size;
  }
};

/// Gradients of a description's operands, each [numel] in row-major order of the operand's shape; empty where an operand is not f32.
class OperandSums {
 public:
  explicit OperandSums(const AttentionSpec& spec);
  /// Of an operand of that very spec; the index counts row-major elements.
  Sum& at(const Tensor& operand, int64_t index) { return sums_[places_.at(&operand)][static_cast<size_t>(index)]; }
  /// In for_each_operand's order.
  const std::vector<std::vector<Sum>>& all() const { return sums_; }

 private:
  std::map<const Tensor*, size_t> places_;
  std::vector<std::vector<Sum>> sums_;
};

struct Gradients {
  std::vector<Sum> q{}, k{}, v{};  // row-major in the shapes of q, k, v
  OperandSums operands;
  double largest = 0;  // S: what the largest visible score was made of (oracle.h)
  explicit Gradients(const AttentionSpec& spec) : operands(spec) {}
};

/// q, k, v and d_out of one dtype. Weights from the record's row statistics; `exact` takes them from the scores themselves, sharing nothing with the record's rows.
Gradients gradients(const AttentionRecord& record, const Tensor& v, const Tensor& d_out, bool exact);

void backward(const BackwardCall& call);

}  // namespace clearhead::reference
