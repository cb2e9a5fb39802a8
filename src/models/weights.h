// The weights of one model, taken out of its files by the names an Architecture gives, checked, and handed to the backend.
//
// A name is tried with the family's prefix and without, then in its other spellings. Every value is checked to be finite. Pages of the file are given
// back once a weight has been packed: resident memory is the packed weights, not twice that. Embedding tables stay in the file and are read row by row.
//
// A model that is trained takes them from ModelParameters instead, which makes what is asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "models/architecture.h"
#include "models/parameters.h"
#include "nn/layers.h"

namespace clearhead {

class Weights {
 public:
  Weights(SafeTensors file, const Architecture& facts, WeightStorage storage = WeightStorage::kF32)
      : file_(std::move(file)), facts_(facts), storage_(storage) {}
  Weights(ModelParameters& parameters, const Architecture& facts) : parameters_(&parameters), facts_(facts) {}

  /// Whether what follows belongs to the body, whose names have the family's prefix in a file, or to a head, whose have not.
  void enter_heads() { in_heads_ = true; }
  /// "{}" in a name is this layer from now on.
  void set_layer(int64_t layer) { layer_ = layer; }

  bool has(const std::string& name) const { return !name.empty() && (parameters_ || !find(name).empty()); }
  /// Whether a file holds what it could share with another weight. What is made is shared.
  bool has_own(const std::string& name) const { return !parameters_ && has(name); }
  /// A table that stays in the file: [entries, width] in the file's dtype.
  Tensor table(const std::string& name, int64_t entries, int64_t width) const;
  /// A small vector in f32.
  Tensor vector(const std::string& name, int64_t size) const;

  struct Part {
    const LinearNames& names;
    int64_t out = 0;
  };
  /// The parts stacked along their outputs. A bias exists if any part has one.
  /// `narrower` divides the spread of what is made new.
  nn::Linear linear(const std::vector<Part>& parts, int64_t in, double narrower = 1) const;
  nn::Linear linear(const LinearNames& names, int64_t in, int64_t out, double narrower = 1) const {
    return linear({{names, out}}, in, narrower);
  }
  nn::Norm norm(const NormFacts& facts, int64_t width) const;

 private:
  std::string find(const std::string& name) const;     // as the file has it; empty if it has not
  std::string require(const std::string& name) const;  // throws kNotFound
  /// A view of the file, after its shape, dtype and values have been checked.
  Tensor checked(const std::string& name_in_file, const Shape& shape) const;
  std::string filled(const std::string& name) const;

  std::string name_for(const std::string& pattern) const;  // that a new parameter gets

  std::optional<SafeTensors> file_{};
  ModelParameters* parameters_ = nullptr;
  const Architecture& facts_;
  WeightStorage storage_ = WeightStorage::kF32;  // of linear layers
  int64_t layer_ = 0;
  bool in_heads_ = false;
};

}  // namespace clearhead
