// Reads the weights of a Transformer from its files by the names in its Architecture, checks them, and passes them to the backend.
//
// A name is looked up with and without the family's prefix, then under its aliases. All values must be finite. Once a weight is
// packed, its pages of the file are released, so only packed weights stay in memory. Embedding tables stay in the file and are
// read row by row.
//
// For a model in training, the weights are new parameters with the names and shapes that files of the family have. They are f32, and
// layers read them in place. Matrices and embedding tables are drawn from N(0, 0.02²); the last linear layer of each block from
// N(0, 0.02²/(2·layers)) (Radford et al. 2019, §2.3). Norm weights are initialised to 1, biases to 0.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clearhead/nn.h"
#include "io/safetensors.h"
#include "models/architecture.h"
#include "nn/run.h"

namespace clearhead {

/// Returns the name of a weight in a file: with or without the family's prefix, or an alias; empty if the file does not have it.
std::string name_in(const io::SafeTensors& file, const Architecture& facts, const std::string& name);

/// Throws kUnsupported, with the names, if the file has tensors that are not in `read` and may change the result. A tensor is
/// harmless if it is in the list `unread` of `facts` or of its encoder, or if it is a copy, under an alias, of one that was read.
void refuse_unread(const io::SafeTensors& file, const Architecture& facts, const std::set<std::string>& read);

/// Storage of the weights of linear layers.
struct StoredWeights {
  WeightStorage storage = WeightStorage::kF32;
  bool live = false;  // unpacked f32, [out, in], through which gradients can flow
};

class Weights {
 public:
  /// If `read` is not null, the names of the tensors that are read are added to it.
  Weights(io::SafeTensors file, const Architecture& facts, StoredWeights stored = {}, std::set<std::string>* read = nullptr)
      : file_(std::move(file)), facts_(facts), stored_(stored), read_(read) {}
  Weights(Parameters& parameters, const Architecture& facts) : parameters_(&parameters), facts_(facts) {}

  /// Marks the end of the body: later names belong to output heads, whose new parameters are named without the prefix.
  void enter_heads() { in_heads_ = true; }
  /// Sets the layer number that replaces "{}" in names.
  void set_layer(int64_t layer) { layer_ = layer; }

  bool has(const std::string& name) const { return !name.empty() && (parameters_ || !find(name).empty()); }
  /// Returns true if the file has its own copy of a weight that can be tied. In training, such weights are always tied.
  bool has_own(const std::string& name) const { return !parameters_ && has(name); }
  /// Returns an embedding table, which stays in the file: [entries, width] in the file's dtype.
  Tensor table(const std::string& name, int64_t entries, int64_t width) const;
  /// Returns the first of `names` that the file has, or names.front() if it has none. In training, returns the last name, under
  /// which the weight is saved.
  const std::string& first_of(const std::vector<std::string>& names) const;
  /// Throws kUnsupported if the file has a tensor of this name whose values are not those of `table`, up to rounding.
  void check_same(const std::string& name, const Tensor& table) const;
  /// Returns a vector such as a bias in f32. In training it is a new parameter whose elements are `value`.
  Tensor vector(const std::string& name, int64_t size, double value = 0) const;
  /// Returns an operand in f32.
  Tensor operand(const OperandFacts& facts) const;

  struct Part {
    const LinearNames& names;
    int64_t out = 0;
  };
  /// Returns a linear layer of parts that are stacked along their outputs. It has a bias if any part has one. The standard
  /// deviation of newly created weights is divided by `narrower`.
  nn::Linear linear(const std::vector<Part>& parts, int64_t in, double narrower = 1) const;
  nn::Linear linear(const LinearNames& names, int64_t in, int64_t out, double narrower = 1) const {
    return linear({{names, out}}, in, narrower);
  }
  nn::Norm norm(const NormFacts& facts, int64_t width) const;

 private:
  std::string find(const std::string& name) const;     // name in the file; empty if it is missing
  std::string require(const std::string& name) const;  // throws kNotFound
  /// Returns a view of the file after checking shape, dtype and values.
  Tensor checked(const std::string& name_in_file, const Shape& shape) const;
  std::string filled(const std::string& name) const;

  // New parameters. A tensor that exists already, such as a tied embedding, is shared.
  std::string name_for(const std::string& pattern, bool in_body = false) const;
  Init drawn(double narrower = 1) const;  // N(0, (0.02 / narrower)²) from the next values of the seed's random sequence
  Tensor new_tensor(const std::string& name, const Shape& shape, const Init& init) const;
  nn::Linear new_linear(const std::vector<Part>& parts, int64_t in, double narrower) const;

  std::optional<io::SafeTensors> file_{};
  Parameters* parameters_ = nullptr;
  const Architecture& facts_;
  StoredWeights stored_{};
  std::set<std::string>* read_ = nullptr;
  int64_t layer_ = 0;
  bool in_heads_ = false;
};

}  // namespace clearhead
