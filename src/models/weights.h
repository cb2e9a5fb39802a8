// The weights of one model, taken out of its files by the names an Architecture gives, checked, and handed to the backend.
//
// A name is tried with the family's prefix and without, then in its other spellings. Every value is checked to be finite. Pages of the file are given
// back once a weight has been packed: resident memory is the packed weights, not twice that. Embedding tables stay in the file and are read row by row.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "models/architecture.h"
#include "nn/layers.h"

namespace clearhead {

class Weights {
 public:
  Weights(SafeTensors file, const Architecture& facts, WeightStorage storage = WeightStorage::kF32)
      : file_(std::move(file)), facts_(facts), storage_(storage) {}

  /// "{}" in a name is this layer from now on.
  void set_layer(int64_t layer) { layer_ = layer; }

  bool has(const std::string& name) const { return !name.empty() && !find(name).empty(); }
  /// A table that stays in the file: [entries, width] in the file's dtype.
  Tensor table(const std::string& name, int64_t entries, int64_t width) const;
  /// A small vector in f32.
  Tensor vector(const std::string& name, int64_t size) const;

  struct Part {
    const LinearNames& names;
    int64_t out = 0;
  };
  /// The parts stacked along their outputs. A bias exists if any part has one.
  nn::Linear linear(const std::vector<Part>& parts, int64_t in) const;
  nn::Linear linear(const LinearNames& names, int64_t in, int64_t out) const { return linear({{names, out}}, in); }
  nn::Norm norm(const NormFacts& facts, int64_t width) const;

 private:
  std::string find(const std::string& name) const;     // as the file has it; empty if it has not
  std::string require(const std::string& name) const;  // throws kNotFound
  /// A view of the file, after its shape, dtype and values have been checked.
  Tensor checked(const std::string& name_in_file, const Shape& shape) const;
  std::string filled(const std::string& name) const;

  SafeTensors file_;
  const Architecture& facts_;
  WeightStorage storage_;  // of linear layers
  int64_t layer_ = 0;
};

}  // namespace clearhead
