// Linear layers, matrix products, norms, embeddings, rotary positions, gated units and softmax as plain loops with sums
// in double. Weights are rounded as their WeightStorage rounds them.
#include "backends/ref/dense.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/format.h"
#include "base/parallel.h"

namespace clearhead {
namespace {

class RowMajor : public PreparedWeight {
 public:
  std::vector<float> values{};  // [out, in]
};

// Rounds the weights of one output as `storage` would.
void round_as_stored(WeightStorage storage, float* row, int64_t in) {
  if (storage == WeightStorage::kBF16) {
    for (int64_t i = 0; i < in; ++i) row[i] = bf16_to_f32(f32_to_bf16(row[i]));
  }
  if (storage != WeightStorage::kInt8 && storage != WeightStorage::kInt8Dynamic) return;
  float largest = 0;
  bool is_finite = true;
  for (int64_t i = 0; i < in; ++i) {
    is_finite = is_finite && std::isfinite(row[i]);
    largest = std::max(largest, std::abs(row[i]));
  }
  const float scale = largest < 0x1p-100F ? 0 : largest / 127;
  for (int64_t i = 0; i < in; ++i)
    row[i] = !is_finite ? std::numeric_limits<float>::quiet_NaN() : scale > 0 ? std::nearbyint(row[i] / scale) * scale : 0;
}

std::shared_ptr<const PreparedWeight> prepare(const WeightPart* parts, int64_t count, WeightStorage storage) {
  auto weight = std::make_shared<RowMajor>();
  for (int64_t part = 0; part < count; ++part) {
    const Tensor stored = parts[part].input_first ? parts[part].values.permute({1, 0}) : parts[part].values;
    if (stored.rank() != 2 || (part > 0 && stored.size(1) != weight->in)) {
      fail(ErrorCode::kShape, "linear: part {} has shape {}; all parts of a weight must have the same number of inputs", part,
           to_string(stored.shape()));
    }
    const Tensor rows = to_f32(stored.contiguous());
    weight->in = rows.size(1);
    weight->out += rows.size(0);
    weight->values.insert(weight->values.end(), rows.data<float>(), rows.data<float>() + rows.numel());
  }
  for (int64_t o = 0; o < weight->out; ++o) round_as_stored(storage, weight->values.data() + o * weight->in, weight->in);
  weight->storage = storage;
  weight->bytes = weight->values.size() * sizeof(float);
  return weight;
}

}  // namespace

namespace reference {

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kGeluErf: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu: return std::isnan(x) ? x : std::max(x, 0.0);
    case Activation::kSilu: return x / (1 + std::exp(-x));
    case Activation::kTanh: return std::tanh(x);
    case Activation::kSigmoid: return 1 / (1 + std::exp(-x));
  }
  return x;
}

}  // namespace reference

namespace {

using reference::activated;

// Rounds a row of inputs as kInt8Dynamic does: to multiples of max|x|/127.
std::vector<float> rounded_inputs(const float* x, int64_t in) {
  float largest = 0;
  bool is_finite = true;
  for (int64_t i = 0; i < in; ++i) {
    is_finite = is_finite && std::isfinite(x[i]);
    largest = std::max(largest, std::abs(x[i]));
  }
  if (!is_finite) return std::vector<float>(static_cast<size_t>(in), std::numeric_limits<float>::quiet_NaN());
  std::vector<float> out(static_cast<size_t>(in), 0);
  if (largest < 0x1p-100F) return out;
  const float scale = largest / 127, inverse = 127 / largest;
  for (int64_t i = 0; i < in; ++i) out[static_cast<size_t>(i)] = std::nearbyint(x[i] * inverse) * scale;
  return out;
}

double wide(float value) { return static_cast<double>(value); }
double wide(uint16_t bf16) { return static_cast<double>(bf16_to_f32(bf16)); }

// Adds a row x times each of `count` columns of a matrix to the sums. Each sum adds its terms in order; sums are independent, so the
// processor computes several at the same time.
template <class Element>
void add_columns(const std::vector<double>& x, const MatrixOf<Element>& matrix, int64_t count, double* sums) {
  if (matrix.column == 1) {
    for (size_t i = 0; i < x.size(); ++i) {
      const Element* row = matrix.data + static_cast<int64_t>(i) * matrix.row;
      for (int64_t c = 0; c < count; ++c) sums[c] += x[i] * wide(row[c]);
    }
    return;
  }
  constexpr int64_t kAtOnce = 8;
  int64_t begin = 0;
  for (; begin + kAtOnce <= count; begin += kAtOnce) {
    double own[kAtOnce];
    std::copy_n(sums + begin, kAtOnce, own);
    const Element* at = matrix.data + begin * matrix.column;
    for (const double value : x) {
      for (int64_t n = 0; n < kAtOnce; ++n) own[n] += value * wide(at[n * matrix.column]);
      at += matrix.row;
    }
    std::copy_n(own, kAtOnce, sums + begin);
  }
  for (; begin < count; ++begin) {
    const Element* at = matrix.data + begin * matrix.column;
    for (size_t i = 0; i < x.size(); ++i) sums[begin] += x[i] * wide(at[static_cast<int64_t>(i) * matrix.row]);
  }
}

// The sums of a row of results before its products: the bias, or zeros.
std::vector<double> first_sums(const float* bias, int64_t count) {
  return bias ? std::vector<double>(bias, bias + count) : std::vector<double>(static_cast<size_t>(count), 0);
}

void linear(const LinearCall& call) {
  const auto& weight = static_cast<const RowMajor&>(call.weight);
  parallel_for(call.rows, [&](int64_t row, int) {
    std::vector<float> widened;
    for (int64_t i = 0; !call.x && i < weight.in; ++i) widened.push_back(bf16_to_f32(call.low_precision_x[row * call.x_stride + i]));
    if (weight.storage == WeightStorage::kInt8Dynamic) widened = rounded_inputs(call.x + row * call.x_stride, weight.in);
    const float* x = widened.empty() ? call.x + row * call.x_stride : widened.data();
    float* out = call.out ? call.out + row * call.out_stride : nullptr;
    std::vector<double> sums = first_sums(call.bias, weight.out);
    add_columns(std::vector<double>(x, x + weight.in), MatrixOf<float>{weight.values.data(), 1, weight.in}, weight.out, sums.data());
    for (int64_t o = 0; o < weight.out; ++o) {
      const double sum = activated(call.activation, sums[static_cast<size_t>(o)]);
      if (call.low_precision_out) {
        call.low_precision_out[row * call.out_stride + o] = f32_to_bf16(static_cast<float>(sum));
        continue;
      }
      out[o] = static_cast<float>(call.accumulate ? sum + static_cast<double>(out[o]) : sum);
    }
  });
}

template <class Element>
void product(const ProductOf<Element>& call) {
  parallel_for(call.rows, [&](int64_t row, int) {
    float* out = call.out + row * call.out_stride;
    std::vector<double> sums = first_sums(call.bias, call.columns), x;
    for (int64_t i = 0; i < call.inner; ++i) x.push_back(wide(call.a.data[row * call.a.row + i * call.a.column]));
    add_columns(x, call.b, call.columns, sums.data());
    for (int64_t c = 0; c < call.columns; ++c) {
      const double sum = activated(call.activation, sums[static_cast<size_t>(c)]);
      out[c] = static_cast<float>(call.accumulate ? sum + static_cast<double>(out[c]) : sum);
    }
  });
}

void norm(const NormCall& call) {
  parallel_for(call.rows, [&](int64_t row, int) {
    const float* x = call.x + row * call.width;
    float* out = call.out + row * call.width;
    const double width = static_cast<double>(call.width);
    double mean = 0, square = 0;
    for (int64_t c = 0; c < call.width; ++c) mean += static_cast<double>(x[c]) / width;
    if (call.rms) mean = 0;
    for (int64_t c = 0; c < call.width; ++c) square += (static_cast<double>(x[c]) - mean) * (static_cast<double>(x[c]) - mean) / width;
    const double scale = 1 / std::sqrt(square + call.epsilon);
    if (call.scales) call.scales[row] = static_cast<float>(scale);
    for (int64_t c = 0; c < call.width; ++c) {
      const double bias = call.bias ? static_cast<double>(call.bias[c]) : 0, y = (static_cast<double>(x[c]) - mean) * scale;
      if (call.normalised) call.normalised[row * call.width + c] = static_cast<float>(y);
      out[c] = static_cast<float>(y * static_cast<double>(call.weight[c]) + bias);
    }
  });
}

// Entry [row, channel] of an embedding table, in f32, bf16 or f16.
double entry(const Tensor& table, int64_t row, int64_t channel) {
  const int64_t at = row * table.size(1) + channel;
  if (table.dtype() == DType::kF32) return static_cast<double>(table.data<float>()[at]);
  const uint16_t bits = reinterpret_cast<const uint16_t*>(table.raw())[at];
  return static_cast<double>(table.dtype() == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits));
}

void embed(const EmbeddingCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    for (int64_t c = 0; c < call.width; ++c) {
      double sum = static_cast<double>(call.scale) * entry(call.tokens, call.ids[row], c);
      if (call.positions.defined()) sum += entry(call.positions, call.position_ids[row], c);
      if (call.types.defined()) sum += entry(call.types, call.type_ids[row], c);
      call.out[row * call.width + c] = static_cast<float>(sum);
    }
  }
}

void rotary(const RotaryCall& call) {
  const int64_t half = call.dims / 2;
  for (int64_t row = 0; row < call.rows; ++row) {
    for (int64_t head = 0; head < call.heads; ++head) {
      float* x = call.x + row * call.row_stride + head * call.head_stride;
      for (int64_t i = 0; i < half; ++i) {
        const int64_t first = call.interleaved ? 2 * i : i, second = call.interleaved ? 2 * i + 1 : i + half;
        const double a = static_cast<double>(x[first]), b = static_cast<double>(x[second]);
        const double c = static_cast<double>(call.cosine[row * half + i]), turn = static_cast<double>(call.sine[row * half + i]);
        const double s = call.inverse ? -turn : turn;
        x[first] = static_cast<float>(a * c - b * s);
        x[second] = static_cast<float>(b * c + a * s);
      }
    }
  }
}

void gated(const GatedCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    const float* gate = call.x + row * 2 * call.width;
    for (int64_t c = 0; c < call.width; ++c) {
      const double value = activated(call.activation, static_cast<double>(gate[c])) * static_cast<double>(gate[call.width + c]);
      call.out[row * call.width + c] = static_cast<float>(value);
    }
  }
}

void activate(Activation activation, float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = static_cast<float>(activated(activation, static_cast<double>(x[i])));
}

void softmax(const SoftmaxCall& call) {
  for (int64_t row = 0; row < call.rows; ++row) {
    const float* x = call.x + row * call.width;
    float* out = call.out + row * call.width;
    const double largest = static_cast<double>(*std::max_element(x, x + call.width));
    double sum = 0;
    for (int64_t c = 0; c < call.width; ++c) sum += std::exp(static_cast<double>(x[c]) - largest);
    for (int64_t c = 0; c < call.width; ++c) out[c] = static_cast<float>(std::exp(static_cast<double>(x[c]) - largest) / sum);
  }
}

}  // namespace

const DenseOps& ref_dense_ops() {
  static const DenseOps table = {prepare, linear,   product<float>, product<uint16_t>, norm,     embed, rotary,
                                 gated,   activate, softmax,        ref_convolution,   ref_gates};
  return table;
}

}  // namespace clearhead
