// Dispatches the dense ops. oneDNN computes general products and f32 linear layers of two or more rows; our own kernels
// compute everything else, including linear layers of one row or one output. bf16 and int8 weights: low_precision.h,
// bytes.h. A weight is packed once, from the file's dtype directly into a layout that both can read, so
// there is never a second copy of it.
#include "backends/cpu/dense/dense.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "backends/cpu/dense/bytes.h"
#include "backends/cpu/dense/dense_kernels.h"
#include "backends/cpu/dense/dnnl.h"
#include "backends/cpu/dense/gate_kernels.h"
#include "backends/cpu/dense/gradient_kernels.h"
#include "backends/cpu/dense/low_precision.h"
#include "backends/cpu/dense/weight_parts.h"
#include "base/format.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "tensor/convert.h"
#include "tensor/pool.h"

namespace clearhead::cpu {
namespace {

constexpr std::align_val_t kAlignment{4096};

struct Release {
  void operator()(float* memory) const { ::operator delete(memory, kAlignment); }
};

class Packed : public PreparedWeight {
 public:
  WeightLayout layout{};
  std::unique_ptr<float[], Release> values{};
};

// Packs outputs [first, first + count) of the stacked parts: as rows or, with panels, as columns of one panel.
void pack_outputs(const std::vector<PartView>& parts, const WeightLayout& layout, int64_t first, int64_t count, float* to) {
  const bool panel = layout.panel != 0;
  const int64_t step = panel ? layout.panel : 1, next = panel ? 1 : layout.in;
  int64_t before = 0;
  for (const PartView& part : parts) {
    const int64_t begin = std::max(first, before), end = std::min(first + count, before + part.out);
    if (part.dtype == DType::kF32 && part.out_stride == 1 && panel &&
        // Stored input-first, so a panel's row is contiguous in the file.
        begin < end) {
      const float* from = reinterpret_cast<const float*>(part.first) + (begin - before);
      for (int64_t i = 0; i < layout.in; ++i) std::copy_n(from + i * part.in_stride, end - begin, to + i * step + (begin - first));
    } else {
      for (int64_t o = begin; o < end; ++o) copy_output(part, o - before, layout.in, to + (o - first) * next, step);
    }
    before += part.out;
  }
}

std::shared_ptr<const PreparedWeight> prepare_for(InstructionSet isa, const WeightPart* parts, int64_t count, WeightStorage storage) {
  if (storage == WeightStorage::kInt8Dynamic) return prepare_bytes(isa, parts, count);
  if (storage != WeightStorage::kF32) return prepare_low_precision(isa, parts, count, storage);
  auto packed = std::make_shared<Packed>();
  const std::vector<PartView> views = views_of(parts, count, packed->in, packed->out);
  packed->layout = wanted_layout(packed->in, packed->out, isa);
  const WeightLayout& layout = packed->layout;
  packed->bytes = static_cast<size_t>(layout.elements()) * sizeof(float);
  packed->values.reset(static_cast<float*>(::operator new(packed->bytes, kAlignment)));
  float* to = packed->values.get();
  if (layout.panel == 0) {
    parallel_ranges(layout.out, grain_of(layout.in),
                    [&](int64_t begin, int64_t end, int) { pack_outputs(views, layout, begin, end - begin, to + begin * layout.in); });
    return packed;
  }
  parallel_for(layout.padded_out / layout.panel, [&](int64_t at, int) {
    const int64_t first = at * layout.panel, size = layout.padded_in * layout.panel;
    const int64_t columns = std::min(layout.panel, layout.out - first);
    float* panel = to + at * size;
    if (columns < layout.panel) std::memset(panel, 0, static_cast<size_t>(size) * sizeof(float));
    std::fill(panel + layout.in * layout.panel, panel + size, 0.0F);
    pack_outputs(views, layout, first, columns, panel);
  });
  return packed;
}

void linear_for(InstructionSet isa, const LinearCall& call) {
  if (call.weight.storage == WeightStorage::kInt8Dynamic) return linear_bytes(isa, call);
  if (call.weight.storage != WeightStorage::kF32) return linear_low_precision(isa, call);
  const auto& weight = static_cast<const Packed&>(call.weight);
  const WeightLayout& layout = weight.layout;
  const Product product{layout,    weight.values.get(), call.x,          call.rows, call.x_stride,
                        call.bias, call.activation,     call.accumulate, call.out,  call.out_stride};
  const DenseKernels& kernels = dense_kernels(isa);
  // oneDNN 3.7 writes a single column as if its rows were adjacent, regardless of the stride.
  if (layout.out == 1) {
    parallel_ranges(call.rows, grain_of(layout.in), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        Product one = product;
        one.rows = 1;
        one.x += row * call.x_stride;
        one.out += row * call.out_stride;
        kernels.product(one, 0, 1);
      }
    });
    return;
  }
  if (call.rows != 1) return multiply(product);
  const int64_t pieces = layout.panel ? layout.padded_out / layout.panel : layout.out;
  const int64_t size = layout.in * std::max<int64_t>(1, layout.panel);
  parallel_ranges(pieces, grain_of(size), [&](int64_t begin, int64_t end, int) { kernels.product(product, begin, end); });
}

WeightLayout layout_of(int64_t inner, int64_t columns, int64_t row, int64_t column) {
  return {inner, columns, 0, inner, columns, row, column};
}

void product_for(const ProductCall& call) {
  const WeightLayout layout = layout_of(call.inner, call.columns, call.b.row, call.b.column);
  multiply({layout, call.b.data, call.a.data, call.rows, call.a.row, call.bias, call.activation, call.accumulate, call.out, call.out_stride,
            call.a.column, true});
}

// Returns the matrix widened to f32, with contiguous lines, in `memory`.
MatrixView widened(const MatrixOf<uint16_t>& matrix, int64_t rows, int64_t columns, Tensor& memory) {
  static const TensorPool pool;
  const bool by_rows = matrix.column == 1;
  const Shape shape = by_rows ? Shape{rows, columns} : Shape{columns, rows};
  const Tensor from = Tensor::borrow(matrix.data, shape, DType::kBF16, nullptr, true, {by_rows ? matrix.row : matrix.column, 1});
  memory = pool.take(shape);
  convert(from, memory);
  const MatrixView out{memory.data<float>(), shape[1], 1};
  return by_rows ? out : out.transposed();
}

// Multiplies bf16 directly or, where that is not possible, the same numbers in f32. A product of two bf16 is exact in
// both cases.
void low_precision_product_for(InstructionSet isa, const LowPrecisionProductCall& call) {
  const WeightLayout layout = layout_of(call.inner, call.columns, call.b.row, call.b.column);
  const Product as_it_is{layout,
                         reinterpret_cast<const float*>(call.b.data),
                         reinterpret_cast<const float*>(call.a.data),
                         call.rows,
                         call.a.row,
                         call.bias,
                         call.activation,
                         call.accumulate,
                         call.out,
                         call.out_stride,
                         call.a.column,
                         true,
                         true};
  if (isa == InstructionSet::kAvx512 && multiply_bf16(as_it_is)) return;
  Tensor a, b;
  const MatrixView wide_a = widened(call.a, call.rows, call.inner, a), wide_b = widened(call.b, call.inner, call.columns, b);
  product_for(
      {wide_a, wide_b, call.rows, call.inner, call.columns, call.bias, call.activation, call.accumulate, call.out, call.out_stride});
}

void norm_for(InstructionSet isa, const NormCall& call) {
  const DenseKernels& kernels = dense_kernels(isa);
  parallel_ranges(call.rows, grain_of(call.width), [&](int64_t begin, int64_t end, int) { kernels.norm(call, begin, end); });
}

void gated_for(InstructionSet isa, const GatedCall& call) {
  const DenseKernels& kernels = dense_kernels(isa);
  parallel_ranges(call.rows, grain_of(call.width), [&](int64_t begin, int64_t end, int) { kernels.gated(call, begin, end); });
}

void activate_for(InstructionSet isa, Activation activation, float* x, int64_t count) {
  const DenseKernels& kernels = dense_kernels(isa);
  parallel_ranges(count, kGrain, [&](int64_t begin, int64_t end, int) { kernels.activate(activation, x + begin, end - begin); });
}

void softmax_for(InstructionSet isa, const SoftmaxCall& call) {
  parallel_ranges(call.rows, grain_of(call.width),
                  [&](int64_t begin, int64_t end, int) { gradient_kernels(isa).softmax(call, begin, end); });
}

void gates_for(InstructionSet isa, const GateCall& call) {
  parallel_ranges(call.rows, grain_of(gates_of(call.kind) * call.width),
                  [&](int64_t begin, int64_t end, int) { gate_kernels(isa).gates(call, begin, end); });
}

// out (+)= scale·row of a table.
void add_row(const Tensor& table, int64_t row, float scale, bool first, float* out, int64_t width) {
  if (table.dtype() == DType::kF32) {
    const float* from = reinterpret_cast<const float*>(table.raw()) + row * width;
    for (int64_t c = 0; c < width; ++c) out[c] = (first ? 0 : out[c]) + scale * from[c];
    return;
  }
  const uint16_t* from = reinterpret_cast<const uint16_t*>(table.raw()) + row * width;
  const bool is_bf16 = table.dtype() == DType::kBF16;
  for (int64_t c = 0; c < width; ++c) out[c] = (first ? 0 : out[c]) + scale * (is_bf16 ? bf16_to_f32(from[c]) : f16_to_f32(from[c]));
}

void embed(const EmbeddingCall& call) {
  parallel_ranges(call.rows, grain_of(call.width), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* out = call.out + row * call.width;
      add_row(call.tokens, call.ids[row], call.scale, true, out, call.width);
      if (call.positions.defined()) add_row(call.positions, call.position_ids[row], 1, false, out, call.width);
      if (call.types.defined()) add_row(call.types, call.type_ids[row], 1, false, out, call.width);
    }
  });
}

void rotate(const RotaryCall& call, int64_t row, int64_t head) {
  const int64_t half = call.dims / 2;
  const float *cosine = call.cosine + row * half, *sine = call.sine + row * half;
  float* x = call.x + row * call.row_stride + head * call.head_stride;
  const int64_t apart = call.interleaved ? 1 : half, step = call.interleaved ? 2 : 1;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i * step], b = x[i * step + apart], s = call.inverse ? -sine[i] : sine[i];
    x[i * step] = a * cosine[i] - b * s;
    x[i * step + apart] = b * cosine[i] + a * s;
  }
}

void rotary(const RotaryCall& call) {
  const int64_t grain = grain_of(call.heads * call.dims);
  parallel_ranges(call.rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < call.heads; ++head) rotate(call, row, head);
    }
  });
}

template <InstructionSet kIsa>
const DenseOps& table() {
  static const DenseOps ops = {
      [](const WeightPart* parts, int64_t count, WeightStorage storage) { return prepare_for(kIsa, parts, count, storage); },
      [](const LinearCall& call) { linear_for(kIsa, call); },
      product_for,
      [](const LowPrecisionProductCall& call) { low_precision_product_for(kIsa, call); },
      [](const NormCall& call) { norm_for(kIsa, call); },
      embed,
      rotary,
      [](const GatedCall& call) { gated_for(kIsa, call); },
      [](Activation activation, float* x, int64_t count) { activate_for(kIsa, activation, x, count); },
      [](const SoftmaxCall& call) { softmax_for(kIsa, call); },
      [](const ConvolutionCall& call) { convolution(kIsa, call); },
      [](const GateCall& call) { gates_for(kIsa, call); },
  };
  return ops;
}

}  // namespace

const DenseOps& dense_ops(InstructionSet isa) {
  return isa == InstructionSet::kAvx512 ? table<InstructionSet::kAvx512>() : table<InstructionSet::kAvx2>();
}

}  // namespace clearhead::cpu
