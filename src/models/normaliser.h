// The normaliser of a network with one attention, as its config.json names it:
//
//   "normaliser": "softmax" (if absent), "sparsemax" or "entmax15" (Sparsemax, Entmax15 in clearhead/spec.h)
//                 "chain"   structured attention: the normalised marginals of a linear-chain conditional random field over the keys. Whether
//                           a key is chosen depends on its neighbours, so runs of words can be chosen together (Kim, Denton, Hoang & Rush
//                           2017, §4.2)
#pragma once

#include <string>

#include "models/attending.h"
#include "models/config.h"

namespace clearhead {

class ConfiguredNormaliser {
 public:
  ConfiguredNormaliser() = default;
  /// Reads "normaliser". The parameter "transitions" [2, 2] of a chain has one number for each pair of choices of neighbouring keys: not
  /// chosen, chosen. Throws kFormat for other names.
  ConfiguredNormaliser(Fields& config, const Scope& scope);
  /// Sets the normaliser of a call of look() with one head. A chain is softmax with a bias: P_ij = p(z_j = 1) / Σ_k p(z_k = 1), and the
  /// log-sum-exp of the record is the logarithm of the expected number of chosen keys. It allocates queries × keys × d_k.
  /// spec.score: for a chain a dot product with scale 1, or additive with tanh.   queries: [batch·n, d_k], n for each sequence
  AttentionSpec described(Compute& compute, const Memory& memory, const Tensor& queries, AttentionSpec spec) const;
  const std::string& name() const { return name_; }
  bool is_softmax() const { return name_ == "softmax"; }

 private:
  std::string name_ = "softmax";
  Normaliser normaliser_{};
  Tensor transitions_{};  // of a chain
};

}  // namespace clearhead
