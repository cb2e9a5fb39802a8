// Names of normalisers and scores for messages and summaries.
#pragma once

#include <string>

#include "clearhead/spec.h"

namespace clearhead {

inline std::string name_of(const Normaliser& normaliser) {
  struct Name {
    std::string operator()(const Softmax&) const { return "softmax"; }
    std::string operator()(const Sparsemax&) const { return "sparsemax"; }
    std::string operator()(const Entmax15&) const { return "entmax-1.5"; }
    std::string operator()(const Sigmoid&) const { return "sigmoid"; }
    std::string operator()(const Hard&) const { return "hard choice"; }
    std::string operator()(const LinearAttention&) const { return "linear"; }
  };
  return std::visit(Name{}, normaliser);
}

inline std::string name_of(const Score& score) {
  struct Name {
    std::string operator()(const Dot&) const { return "a dot product"; }
    std::string operator()(const Additive&) const { return "additive"; }
    std::string operator()(const Relative&) const { return "relative"; }
  };
  return std::visit(Name{}, score);
}

}  // namespace clearhead
