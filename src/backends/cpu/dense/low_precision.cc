// Weights rounded to bf16 or int8, stored as panels or rows. Products with few input rows widen them in registers or
// cache; products with many input rows use oneDNN on widened pieces.
#include "backends/cpu/dense/low_precision.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/dense/dense_kernels.h"
#include "backends/cpu/dense/dnnl.h"
#include "backends/cpu/dense/weight_parts.h"
#include "base/parallel.h"
#include "tensor/convert.h"
#include "tensor/pool.h"

namespace clearhead::cpu {
namespace {

// For up to this many input rows, weights are widened in registers or cache and not multiplied by oneDNN.
constexpr int64_t kFewRows = 16;
constexpr int64_t kPieceElements = int64_t{1} << 20;  // elements that are widened at a time for oneDNN: 4 MiB
constexpr int64_t kGrainBytes = 64 * 1024;            // minimum bytes of weights for which waking a thread pays
constexpr int64_t kOutputs = 64;                      // outputs whose sums are computed before `finish`; the widest panel

class LowPrecisionWeight : public PreparedWeight {
 public:
  WeightLayout layout{};  // int8: rows
  // u8 [elements · element_bytes]. A tensor, because its memory requests large pages; without them, a stream is a fifth
  // slower.
  Tensor values{};
  std::vector<float> scales{};  // [out], int8 only

  bool has_panels() const { return layout.panel > 0; }
  int64_t padded_in() const { return has_panels() ? layout.padded_in : layout.out_step; }
  int64_t element_bytes() const { return storage == WeightStorage::kInt8 ? 1 : 2; }
  int64_t row_bytes() const { return padded_in() * element_bytes(); }
  int64_t panels() const { return layout.padded_out / layout.panel; }
  LowPrecisionPanel panel(int64_t at) const {
    return {values.data<uint8_t>() + at * layout.panel * row_bytes(), layout.panel, layout.padded_in / 2};
  }
  LowPrecisionRows rows(const float* x, int64_t count) const {
    return {storage, values.data<uint8_t>(), scales.data(), padded_in(), x, count};
  }
};

void store_row(const std::vector<float>& row, int64_t in, LowPrecisionWeight& to, uint8_t* values, int64_t output) {
  uint8_t* bytes = values + output * to.row_bytes();
  std::memset(bytes, 0, static_cast<size_t>(to.row_bytes()));
  if (to.storage == WeightStorage::kBF16) {
    for (int64_t i = 0; i < in; ++i) {
      const uint16_t bits = f32_to_bf16(row[static_cast<size_t>(i)]);
      std::memcpy(bytes + 2 * i, &bits, 2);
    }
    return;
  }
  const float scale = int8_step(row);
  to.scales[static_cast<size_t>(output)] = scale;
  for (int64_t i = 0; i < in && scale > 0; ++i) {
    bytes[i] = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyint(row[static_cast<size_t>(i)] / scale)));
  }
}

// Stores output `output` as a column of its bf16 panel.
void store_column(const std::vector<float>& row, const LowPrecisionWeight& weight, int64_t output, uint8_t* values) {
  const WeightLayout& layout = weight.layout;
  auto* panel = reinterpret_cast<uint16_t*>(values) + output / layout.panel * layout.panel * layout.padded_in + output % layout.panel * 2;
  for (int64_t i = 0; i < layout.padded_in; ++i)
    panel[i / 2 * layout.panel * 2 + i % 2] = i < layout.in ? f32_to_bf16(row[static_cast<size_t>(i)]) : 0;
}

// Applies bias, activation and residual to one row's sums, and writes outputs [first, first + count).
void finish(const DenseKernels& kernels, const LinearCall& call, int64_t row, int64_t first, int64_t count, float* sums) {
  for (int64_t o = 0; call.bias && o < count; ++o) sums[o] += call.bias[first + o];
  if (call.activation != Activation::kNone) kernels.activate(call.activation, sums, count);
  float* out = call.out + row * call.out_stride + first;
  for (int64_t o = 0; o < count; ++o) out[o] = call.accumulate ? out[o] + sums[o] : sums[o];
}

// Returns the call's x in f32: the rows themselves, or widened rows in `memory`.
MatrixView wide_rows(const LinearCall& call, Tensor& memory) {
  if (call.x) return {call.x, call.x_stride, 1};
  memory = to_f32(Tensor::borrow(call.low_precision_x, {call.rows, call.weight.in}, DType::kBF16, nullptr, true, {call.x_stride, 1}));
  return {memory.data<float>(), call.weight.in, 1};
}

void few_rows(InstructionSet isa, const LowPrecisionWeight& weight, const LinearCall& call) {
  const LowPrecisionKernels& kernels = low_precision_kernels(isa);
  Tensor widened;
  const MatrixView rows = wide_rows(call, widened);
  const int64_t width = weight.padded_in();
  std::vector<float> x(static_cast<size_t>(call.rows * width), 0);
  for (int64_t row = 0; row < call.rows; ++row) {
    const float* from = rows.data + row * rows.row;
    float* to = x.data() + row * width;
    if (call.rows == 1 && !weight.has_panels()) {
      kernels.arrange(weight.storage, from, weight.in, width, to);
    } else {
      std::copy(from, from + weight.in, to);
    }
  }
  if (weight.has_panels()) {
    const int64_t outputs = weight.layout.panel;
    parallel_ranges(weight.panels(), std::max<int64_t>(1, kGrainBytes / (outputs * weight.row_bytes())),
                    [&](int64_t begin, int64_t end, int) {
                      alignas(64) float sums[kFewRows * kOutputs];
                      for (int64_t at = begin; at < end; ++at) {
                        kernels.panel_sums(weight.panel(at), x.data(), width, call.rows, sums);
                        const int64_t first = at * outputs, count = std::min(outputs, weight.out - first);
                        for (int64_t row = 0; row < call.rows; ++row)
                          finish(dense_kernels(isa), call, row, first, count, sums + row * outputs);
                      }
                    });
    return;
  }
  const LowPrecisionRows product = weight.rows(x.data(), call.rows);
  parallel_ranges(weight.out, std::max<int64_t>(1, kGrainBytes / weight.row_bytes()), [&](int64_t begin, int64_t end, int) {
    alignas(64) float sums[kFewRows * kOutputs];
    for (int64_t first = begin; first < end; first += kOutputs) {
      const int64_t count = std::min(kOutputs, end - first);
      kernels.sums(product, first, first + count, sums, kOutputs);
      for (int64_t row = 0; row < call.rows; ++row) finish(dense_kernels(isa), call, row, first, count, sums + row * kOutputs);
    }
  });
}

// Multiplies both operands as stored. Returns false if the machine or the library cannot multiply bf16.
bool multiply_as_stored(const LowPrecisionWeight& weight, const LinearCall& call) {
  const auto at = [](const void* bf16) { return static_cast<const float*>(bf16); };
  return multiply_bf16({.layout = weight.layout,
                        .weights = at(weight.values.raw()),
                        .x = at(call.low_precision_x),
                        .rows = call.rows,
                        .x_stride = call.x_stride,
                        .bias = call.bias,
                        .activation = call.activation,
                        .accumulate = call.accumulate,
                        .out = call.low_precision_out ? reinterpret_cast<float*>(call.low_precision_out) : call.out,
                        .out_stride = call.out_stride,
                        .is_bf16 = true,
                        .rounds_out = call.low_precision_out != nullptr});
}

// The layout of `outputs` outputs after widening to f32.
WeightLayout wide_layout(const LowPrecisionWeight& weight, int64_t outputs) {
  return weight.has_panels() ? panels_layout(weight.in, outputs, weight.layout.panel, /*is_bf16=*/false) : rows_layout(weight.in, outputs);
}

// Widens panel `at`, or the row of output `at`, to `padded_in` inputs. row: scratch for one output with its padding.
void widen_unit(const LowPrecisionKernels& kernels, const LowPrecisionWeight& weight, int64_t at, int64_t padded_in,
                std::vector<float>& row, float* to) {
  if (weight.has_panels()) {
    LowPrecisionPanel panel = weight.panel(at);
    panel.pairs = padded_in / 2;
    return kernels.widen_panel(panel, to);
  }
  kernels.widen(weight.rows(nullptr, 0), at, row.data());
  std::copy_n(row.data(), padded_in, to);
}

void many_rows(InstructionSet isa, const LowPrecisionWeight& weight, const LinearCall& call) {
  const LowPrecisionKernels& kernels = low_precision_kernels(isa);
  Tensor widened;
  const MatrixView x = wide_rows(call, widened);
  const int64_t unit = std::max<int64_t>(1, weight.layout.panel);  // outputs that are widened together
  const int64_t piece = std::min(weight.out, std::max<int64_t>(64, kPieceElements / weight.padded_in()) / unit * unit);
  static const TensorPool pool;
  Tensor wide = pool.take({wide_layout(weight, piece).elements()});
  float* to = wide.mutable_data<float>();
  for (int64_t first = 0; first < weight.out; first += piece) {
    const WeightLayout layout = wide_layout(weight, std::min(piece, weight.out - first));
    parallel_ranges(layout.padded_out / unit, std::max<int64_t>(1, kGrainBytes / (unit * weight.row_bytes())),
                    [&](int64_t begin, int64_t end, int) {
                      std::vector<float> row(static_cast<size_t>(weight.padded_in()));
                      for (int64_t at = begin; at < end; ++at)
                        widen_unit(kernels, weight, first / unit + at, layout.padded_in, row, to + at * unit * layout.padded_in);
                    });
    multiply({layout, to, x.data, call.rows, x.row, call.bias ? call.bias + first : nullptr, call.activation, call.accumulate,
              call.out + first, call.out_stride});
  }
}

// Computes sums in f32, then rounds them to bf16.
void linear_rounded(InstructionSet isa, const LinearCall& call) {
  Tensor sums = Tensor::empty({call.rows, call.weight.out});
  LinearCall wide = call;
  wide.low_precision_out = nullptr;
  wide.out = sums.mutable_data<float>();
  wide.out_stride = call.weight.out;
  linear_low_precision(isa, wide);
  Tensor out = Tensor::borrow(call.low_precision_out, sums.shape(), DType::kBF16, nullptr, false, {call.out_stride, 1});
  convert(sums, out);
}

}  // namespace

std::shared_ptr<const PreparedWeight> prepare_low_precision(InstructionSet isa, const WeightPart* parts, int64_t count,
                                                            WeightStorage storage) {
  auto weight = std::make_shared<LowPrecisionWeight>();
  weight->storage = storage;
  const std::vector<PartView> views = views_of(parts, count, weight->in, weight->out);
  if (storage == WeightStorage::kBF16 && isa == InstructionSet::kAvx512) weight->layout = wanted_layout(weight->in, weight->out, isa, true);
  // With few outputs, a panel would be largely padding.
  if (!weight->has_panels() || weight->layout.elements() > weight->in * weight->out * 5 / 4) {
    weight->layout = rows_layout(weight->in, weight->out);
    weight->layout.out_step =
        std::max<int64_t>(1, (weight->in + kLowPrecisionStep - 1) / kLowPrecisionStep) * kLowPrecisionStep;  // never an empty row
  }
  if (storage == WeightStorage::kInt8) weight->scales.resize(static_cast<size_t>(weight->out));
  const int64_t outputs = weight->has_panels() ? weight->layout.padded_out : weight->out;
  weight->bytes = static_cast<size_t>(outputs * weight->row_bytes()) + weight->scales.size() * sizeof(float);
  weight->values = Tensor::zeros({outputs * weight->row_bytes()}, DType::kU8);
  uint8_t* values = weight->values.mutable_data<uint8_t>();
  int64_t before = 0;
  for (const PartView& part : views) {
    parallel_ranges(part.out, std::max<int64_t>(1, kGrainBytes / weight->row_bytes()), [&](int64_t begin, int64_t end, int) {
      std::vector<float> row(static_cast<size_t>(weight->in));
      for (int64_t o = begin; o < end; ++o) {
        copy_output(part, o, weight->in, row.data(), 1);
        weight->has_panels() ? store_column(row, *weight, before + o, values) : store_row(row, weight->in, *weight, values, before + o);
      }
    });
    before += part.out;
  }
  return weight;
}

void linear_low_precision(InstructionSet isa, const LinearCall& call) {
  const auto& weight = static_cast<const LowPrecisionWeight&>(call.weight);
  if (call.rows == 0 || weight.out == 0) return;
  const bool is_few = call.rows <= kFewRows || weight.out == 1;
  if (!is_few && !call.x && isa == InstructionSet::kAvx512 && multiply_as_stored(weight, call)) return;
  if (call.low_precision_out) return linear_rounded(isa, call);
  if (is_few) {
    LinearCall part = call;
    for (int64_t row = 0; row < call.rows; row += kFewRows) {
      part.rows = std::min(kFewRows, call.rows - row);
      if (call.x) part.x = call.x + row * call.x_stride;
      if (!call.x) part.low_precision_x = call.low_precision_x + row * call.x_stride;
      part.out = call.out + row * call.out_stride;
      few_rows(isa, weight, part);
    }
    return;
  }
  many_rows(isa, weight, call);
}

}  // namespace clearhead::cpu
