// The weights of a Transformer in training: f32 tensors that layers read in place, with the names and shapes that files of the
// family have.
//
//   The q, k and v projections are one tensor [q | k | v, in], and each name is a view of it. A name that files store as
//   [in, out] is a transposed view.
//
// New weights are drawn from N(0, spread²); those of the last layer of each block from N(0, spread²/(2·layers)) (Radford et al.
// 2019, §2.3). Norm weights are initialised to 1, biases to 0.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/dense.h"
#include "io/safetensors.h"

namespace clearhead {

class ModelParameters {
 public:
  explicit ModelParameters(uint64_t seed, double spread = 0.02) : seed_(seed), spread_(spread) {}

  /// A tensor that the optimiser updates. Weight decay applies to matrices, not to vectors and embedding tables.
  struct Leaf {
    Tensor values{};
    bool decays = false;
  };
  const std::vector<Leaf>& leaves() const { return leaves_; }
  /// Views of the leaves by name, in order of creation.
  const io::NamedTensors& named() const { return named_; }
  /// Number of elements of all leaves.
  int64_t count() const;

  /// Copies values from a file by name. Throws kNotFound for a name that is not in the file, kShape for another shape.
  void read(const io::SafeTensors& file);
  /// The same, with the names that `name_in_file` returns. If it returns an empty name, the parameter keeps its initial values.
  using NameInFile = std::function<std::string(const std::string& name, const Shape& shape)>;
  void read(const io::SafeTensors& file, const NameInFile& name_in_file);

  struct Part {
    std::string weight{}, bias{};  // empty: no bias
    int64_t out = 0;
    bool input_first = false;
    bool bias_is_row = false;  // files store the bias as [1, out]
  };
  // Each of these functions creates the tensor with this name, or returns the existing one.
  Tensor table(const std::string& name, int64_t entries, int64_t width);
  Tensor vector(const std::string& name, int64_t size, float value);
  struct Linear {
    std::shared_ptr<const LiveWeight> weight{};
    Tensor bias{};  // undefined if no part has a bias
  };
  /// A linear layer of parts stacked along their outputs. The standard deviation of new weights is divided by `narrower`.
  Linear linear(const std::vector<Part>& parts, int64_t in, double narrower = 1);

 private:
  const Tensor* find(const std::string& name) const;
  Tensor make(const Shape& shape, bool decays);
  void name_bias(const Part& part, const Tensor& values);
  void draw(Tensor& values, double spread);

  uint64_t seed_;
  uint64_t drawn_ = 0;
  double spread_;
  std::vector<Leaf> leaves_{};
  io::NamedTensors named_{};
};

}  // namespace clearhead
