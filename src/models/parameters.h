// The weights of a model that is trained: f32 tensors that layers read in place, under the names and in the shapes that a file of the family has.
//
//   q, k and v of one projection are stacked in one tensor [q | k | v, in]; each name is a view of it. [in, out] files are transposed views.
//
// What is made new is drawn from N(0, spread²), the last maps of blocks from N(0, spread²/(2·layers)) (Radford et al. 2019, §2.3); norms begin at 1, biases at 0.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/dense.h"
#include "io/safetensors.h"

namespace clearhead {

class ModelParameters {
 public:
  explicit ModelParameters(uint64_t seed, double spread = 0.02) : seed_(seed), spread_(spread) {}

  /// One tensor that is stepped as a whole. Matrices decay, vectors and tables do not.
  struct Leaf {
    Tensor values{};
    bool decays = false;
  };
  const std::vector<Leaf>& leaves() const { return leaves_; }
  /// By name, in the order they were made: views of leaves.
  const NamedTensors& named() const { return named_; }
  int64_t count() const;

  /// Values of a file under the same names. Throws kNotFound for a name that the file has not, kShape.
  void read(const SafeTensors& file);

  struct Part {
    std::string weight{}, bias{};  // bias: empty for none
    int64_t out = 0;
    bool input_first = false;
    bool bias_is_row = false;  // named as [1, out]
  };
  // Each makes what it names, or finds it: a name is made once.
  Tensor table(const std::string& name, int64_t entries, int64_t width);
  Tensor vector(const std::string& name, int64_t size, float value);
  struct Linear {
    std::shared_ptr<const LiveWeight> weight{};
    Tensor bias{};  // undefined where no part has one
  };
  /// `narrower`: the spread is divided by it.
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
  NamedTensors named_{};
};

}  // namespace clearhead
