// A tape that also keeps the gradient with respect to the embeddings that a forward pass starts from.
//
//   InputTape tape;  tape.scale = 0.5;     the pass starts from half of every embedding (a point on the path from a baseline of zeros)
//   tape.backward(y);                      tape.inputs[0].gradient
#pragma once

#include <string>
#include <vector>

#include "autograd/tape.h"

namespace clearhead::explain {

class InputTape final : public Tape {
 public:
  struct Input {
    std::string family{};  // "enc" or "dec" of a Transformer; "features" for rows of features; "" for other embeddings of a network
    Tensor values{};       // f32 [rows, width], before scaling
    Tensor gradient{};     // with respect to the scaled embeddings; undefined: no gradient reached them
  };
  float scale = 1;
  std::vector<Input> inputs{};  // in the order in which the model read them

  void embedded(const std::string& family, Tensor& x) override {
    inputs.push_back({family, x.clone(), {}});
    if (scale != 1) {
      float* values = x.mutable_data<float>();
      for (int64_t i = 0; i < x.numel(); ++i) values[i] *= scale;
    }
    record("input", x, {}, [this, at = inputs.size() - 1, x = shadow_of(x)](clearhead::Gradients& gradients) {
      inputs[at].gradient = gradients.of(x).clone();
    });
  }
};

}  // namespace clearhead::explain
