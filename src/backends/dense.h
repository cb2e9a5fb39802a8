// The dense ops of a backend's table: linear layers, norms, embeddings, activations and everything else that a
// Transformer computes besides attention.
//
// Buffers are f32. Each row is contiguous; consecutive rows are `stride` elements apart. Weights are prepared once, in
// a layout that the backend chooses and that serves any number of rows, and are read-only afterwards. Functions may use
// parallel_for and must not be called inside it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "backends/convolution.h"
#include "backends/recurrence.h"
#include "clearhead/tensor.h"

namespace clearhead {

enum class Activation : uint8_t {
  kNone,
  kGeluErf,   // x·Φ(x), Φ by erf
  kGeluTanh,  // 0.5x(1 + tanh(√(2/π)(x + 0.044715x³))): "gelu_new", "gelu_pytorch_tanh"
  kRelu,
  kSilu,  // x·σ(x)
  kTanh,
  kSigmoid,
};
const char* to_string(Activation activation);
/// The activation with this Hugging Face name; empty if the name is unknown.
std::optional<Activation> activation_from(std::string_view name);

/// The weight W of y = x·Wᵀ in the layout of one backend. Immutable; threads may share it.
class PreparedWeight {
 public:
  virtual ~PreparedWeight() = default;
  int64_t in = 0, out = 0;
  size_t bytes = 0;  // resident bytes
  WeightStorage storage = WeightStorage::kF32;
};

/// A weight that changes between calls, as in training. It is read in place; nothing is prepared. DenseOps::linear does
/// not accept it: its values are an operand of DenseOps::product.
class LiveWeight : public PreparedWeight {
 public:
  explicit LiveWeight(Tensor rows) : values(std::move(rows)) {
    in = values.size(1);
    out = values.size(0);
    bytes = values.bytes();
  }
  Tensor values{};  // f32 [out, in]
  /// The values in bf16, rounded to nearest even. The result is cached until the values change. Not thread-safe.
  const Tensor& rounded() const;

 private:
  mutable Tensor rounded_{};
  mutable uint64_t version_ = 0;  // of the values that rounded_ was made from
};

/// A range of a weight's outputs, as stored in a file: [out, in], or [in, out] if `input_first`; f32, bf16 or f16; any
/// strides.
struct WeightPart {
  Tensor values{};
  bool input_first = false;
};

/// out = f(x·Wᵀ + bias), or out += … if `accumulate`. x and out must not overlap.
struct LinearCall {
  const PreparedWeight& weight;
  // [rows, in]. Null if the input is bf16: low_precision_x is then the input, and the weight must be stored in bf16.
  const float* x = nullptr;
  int64_t rows = 0;
  int64_t x_stride = 0;
  const float* bias = nullptr;  // [out]
  Activation activation = Activation::kNone;
  bool accumulate = false;  // out += …: the residual stream
  float* out = nullptr;     // [rows, out]
  int64_t out_stride = 0;
  const uint16_t* low_precision_x = nullptr;
  uint16_t* low_precision_out = nullptr;  // only with low_precision_x, never with `accumulate`: replaces `out`; each sum is rounded once
};

/// A view of a matrix: element [r, c] is data[r·row + c·column]. At least one of `row` and `column` is 1.
template <class Element>
struct MatrixOf {
  const Element* data = nullptr;
  int64_t row = 0, column = 1;
  MatrixOf transposed() const { return {data, column, row}; }
};
using MatrixView = MatrixOf<float>;

/// out = f(a·b + bias), or out += … if `accumulate`. out must not overlap a or b. Sums are f32.
template <class Element>
struct ProductOf {
  MatrixOf<Element> a{};  // [rows, inner]
  MatrixOf<Element> b{};  // [inner, columns]
  int64_t rows = 0, inner = 0, columns = 0;
  const float* bias = nullptr;  // [columns]
  Activation activation = Activation::kNone;
  bool accumulate = false;
  float* out = nullptr;  // [rows, columns]
  int64_t out_stride = 0;
};

using ProductCall = ProductOf<float>;
using LowPrecisionProductCall = ProductOf<uint16_t>;  // for bf16

/// out = x̂·weight + bias, where x̂ = (x − mean)·scale and scale = 1/√(var + ε): layer norm. RMS norm: x̂ = x·scale and
/// scale = 1/√(mean x² + ε). May run in place.
struct NormCall {
  bool rms = false;
  double epsilon = 1e-5;
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width] or null
  const float* x = nullptr;       // [rows, width], contiguous
  float* out = nullptr;
  int64_t rows = 0, width = 0;
  // Written for the gradient if not null: x̂ and scale.
  float* normalised = nullptr;  // [rows, width]
  float* scales = nullptr;      // [rows]
};

/// out[r] = scale·tokens[ids[r]] + positions[position_ids[r]] + types[type_ids[r]]. Tables are f32, bf16 or f16,
/// [entries, width], contiguous; undefined `positions` or `types` add nothing. Only the rows that the ids name are read, so the rest
/// of a memory-mapped file is not loaded. The caller has checked the ids.
struct EmbeddingCall {
  const Tensor& tokens;
  const Tensor& positions;
  const Tensor& types;
  float scale = 1;
  const int32_t* ids = nullptr;           // [rows]
  const int32_t* position_ids = nullptr;  // [rows]
  const int32_t* type_ids = nullptr;      // [rows]
  float* out = nullptr;                   // [rows, width]
  int64_t rows = 0, width = 0;
};

/// Rotates the first `dims` channels of every head in place, with the cosines and sines of row r for x[r, h, ·]. Channel
/// pairs are (i, i + dims/2), or (2i, 2i + 1) if `interleaved`.
struct RotaryCall {
  float* x = nullptr;  // [rows, heads, head_dim], head_dim contiguous
  int64_t rows = 0, heads = 0, head_dim = 0, row_stride = 0, head_stride = 0;
  int64_t dims = 0;
  bool interleaved = false;
  const float* cosine = nullptr;  // [rows, dims / 2]
  const float* sine = nullptr;
  bool inverse = false;  // rotate back, for the gradient
};

/// out = f(gate) ⊙ up, where a row of x is [gate | up].
struct GatedCall {
  Activation activation = Activation::kSilu;
  const float* x = nullptr;  // [rows, 2·width], contiguous
  float* out = nullptr;      // [rows, width], contiguous
  int64_t rows = 0, width = 0;
};

/// out[r] = exp(x[r] − max x[r])/Σ.   Contiguous; may run in place.
struct SoftmaxCall {
  const float* x = nullptr;  // [rows, width]
  float* out = nullptr;
  int64_t rows = 0, width = 0;
};

struct DenseOps {
  /// Stacks the parts along their outputs, so that q, k and v become one product. Throws kShape if the parts' input
  /// widths differ.
  std::shared_ptr<const PreparedWeight> (*prepare)(const WeightPart* parts, int64_t count, WeightStorage storage) = nullptr;
  void (*linear)(const LinearCall& call) = nullptr;
  void (*product)(const ProductCall& call) = nullptr;
  void (*low_precision_product)(const LowPrecisionProductCall& call) = nullptr;
  void (*norm)(const NormCall& call) = nullptr;
  void (*embed)(const EmbeddingCall& call) = nullptr;
  void (*rotary)(const RotaryCall& call) = nullptr;
  void (*gated)(const GatedCall& call) = nullptr;
  void (*activate)(Activation activation, float* x, int64_t count) = nullptr;
  void (*softmax)(const SoftmaxCall& call) = nullptr;
  void (*convolution)(const ConvolutionCall& call) = nullptr;
  void (*gates)(const GateCall& call) = nullptr;
};

}  // namespace clearhead
