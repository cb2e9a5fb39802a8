// The weights of a model, read from its files by the names in its Architecture, checked, and passed to the backend.
//
// A name is looked up with the family's prefix and without, then with its aliases. All values are checked to be finite.
// Pages of the file are released once a weight is packed, so only the packed weights stay in memory. Embedding tables
// stay in the file and are read row by row.
//
// A model in training takes its weights from ModelParameters, which creates them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "models/architecture.h"
#include "models/parameters.h"
#include "nn/layers.h"

namespace clearhead {

/// The name under which a file holds a weight: with the family's prefix or without, or in another spelling; empty if it does not.
std::string name_in(const SafeTensors& file, const Architecture& facts, const std::string& name);

/// Throws kUnsupported, by name, if a tensor of the file is not in `read` and may change the result: it is not on the list of
/// `facts` (or of its encoder), and it is no copy, under an alias, of one that was read.
void refuse_unread(const SafeTensors& file, const Architecture& facts, const std::set<std::string>& read);

/// How the weights of linear layers are kept.
struct StoredWeights {
  WeightStorage storage = WeightStorage::kF32;
  bool live = false;  // f32 in the order of a file, so that gradients pass
};

class Weights {
 public:
  /// `read` receives the names of the tensors that are read.
  Weights(SafeTensors file, const Architecture& facts, StoredWeights stored = {}, std::set<std::string>* read = nullptr)
      : file_(std::move(file)), facts_(facts), stored_(stored), read_(read) {}
  Weights(ModelParameters& parameters, const Architecture& facts) : parameters_(&parameters), facts_(facts) {}

  /// Marks the end of the body: names after this belong to heads, whose names have no prefix when they are created.
  void enter_heads() { in_heads_ = true; }
  /// Sets the layer number that replaces "{}" in names.
  void set_layer(int64_t layer) { layer_ = layer; }

  bool has(const std::string& name) const { return !name.empty() && (parameters_ || !find(name).empty()); }
  /// Returns true if a file has its own copy of a weight that can be shared (tied). In training such weights are always shared.
  bool has_own(const std::string& name) const { return !parameters_ && has(name); }
  /// A table that stays in the file: [entries, width] in the file's dtype.
  Tensor table(const std::string& name, int64_t entries, int64_t width) const;
  /// The first of `names` that the file has, or the first; in training always the last, under which it is saved.
  const std::string& first_of(const std::vector<std::string>& names) const;
  /// Throws kUnsupported if the file has a tensor of this name whose values are not those of `table`, up to rounding.
  void check_same(const std::string& name, const Tensor& table) const;
  /// A small vector in f32.
  Tensor vector(const std::string& name, int64_t size) const;

  struct Part {
    const LinearNames& names;
    int64_t out = 0;
  };
  /// A linear layer of parts stacked along their outputs. It has a bias if any part has one. `narrower` divides the
  /// standard deviation of newly created weights.
  nn::Linear linear(const std::vector<Part>& parts, int64_t in, double narrower = 1) const;
  nn::Linear linear(const LinearNames& names, int64_t in, int64_t out, double narrower = 1) const {
    return linear({{names, out}}, in, narrower);
  }
  nn::Norm norm(const NormFacts& facts, int64_t width) const;

 private:
  std::string find(const std::string& name) const;     // name in the file; empty if it is not there
  std::string require(const std::string& name) const;  // throws kNotFound
  /// A view of the file, with shape, dtype and values checked.
  Tensor checked(const std::string& name_in_file, const Shape& shape) const;
  std::string filled(const std::string& name) const;

  std::string name_for(const std::string& pattern, bool in_body = false) const;  // name for a new parameter

  std::optional<SafeTensors> file_{};
  ModelParameters* parameters_ = nullptr;
  const Architecture& facts_;
  StoredWeights stored_{};
  std::set<std::string>* read_ = nullptr;
  int64_t layer_ = 0;
  bool in_heads_ = false;
};

}  // namespace clearhead
