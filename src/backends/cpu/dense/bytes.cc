// Packs weights once into the panels of bytes that oneDNN prefers. A product is split into tiles, each of which is computed
// by one thread: it multiplies integers and scales the sums. Many rows are rounded by the thread that multiplies them, few
// rows once by the calling thread.
#include "backends/cpu/dense/bytes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/cpu/dense/dense_kernels.h"
#include "backends/cpu/dense/dnnl.h"
#include "backends/cpu/dense/low_precision.h"
#include "backends/cpu/dense/weight_parts.h"
#include "base/grain.h"
#include "base/parallel.h"
#include "tensor/pool.h"

namespace clearhead::cpu {
namespace {

class Bytes : public PreparedWeight {
 public:
  WeightLayout layout{};
  Tensor values{};  // s8 in panels [out / panel][padded_in / 4][panel][4]
  std::vector<float> scales{};
  std::vector<int32_t> offsets{};
  // If set, products are computed in f32 from these int8 rows; values, scales and offsets are then empty.
  std::shared_ptr<const PreparedWeight> widened{};
};

// The address of the byte of weight [output, input].
int8_t* element(const WeightLayout& layout, int8_t* values, int64_t output, int64_t input) {
  const int64_t panel = layout.panel;
  return values + output / panel * panel * layout.padded_in + input / 4 * panel * 4 + output % panel * 4 + input % 4;
}

void store_output(const std::vector<float>& row, Bytes& to, int64_t output) {
  const float scale = int8_step(row);
  auto* values = reinterpret_cast<int8_t*>(to.values.mutable_raw());
  int32_t sum = 0;
  for (int64_t i = 0; i < to.in && scale > 0; ++i) {
    const auto rounded = static_cast<int8_t>(std::nearbyint(row[static_cast<size_t>(i)] / scale));
    *element(to.layout, values, output, i) = rounded;
    sum += rounded;
  }
  to.scales[static_cast<size_t>(output)] = scale;
  to.offsets[static_cast<size_t>(output)] = 128 * sum;
}

// The rows and outputs that one thread computes together.
struct Tile {
  int64_t row = 0, rows = 0, output = 0, outputs = 0;
};

struct Rounded {
  const uint8_t* x = nullptr;     // [rows, in]
  const float* scales = nullptr;  // [rows]
};

// A thread's buffers. They grow and are never freed, so that calls do not allocate.
struct Memory {
  std::vector<uint8_t> x{};
  std::vector<float> scales{}, results{};
  std::vector<int32_t> sums{};
};

void round_rows(const ByteKernels& kernels, const LinearCall& call, int64_t first, int64_t rows, Memory& to) {
  const int64_t in = call.weight.in;
  to.x.resize(std::max(to.x.size(), static_cast<size_t>(rows * in)));
  to.scales.resize(std::max(to.scales.size(), static_cast<size_t>(rows)));
  for (int64_t row = 0; row < rows; ++row)
    to.scales[static_cast<size_t>(row)] = kernels.round(call.x + (first + row) * call.x_stride, in, to.x.data() + row * in);
}

// Computes the outputs of a tile from its integer sums: scale, bias, activation and residual.
void finish(InstructionSet isa, const LinearCall& call, const Tile& tile, const float* row_scales, Memory& memory) {
  const auto& weight = static_cast<const Bytes&>(call.weight);
  const bool is_apart = call.accumulate && call.activation != Activation::kNone;
  memory.results.resize(static_cast<size_t>(is_apart ? tile.outputs : 0));
  for (int64_t row = 0; row < tile.rows; ++row) {
    float* out = call.out + (tile.row + row) * call.out_stride + tile.output;
    float* to = is_apart ? memory.results.data() : out;
    const ByteScales scales{row_scales[row], weight.scales.data() + tile.output, weight.offsets.data() + tile.output,
                            call.bias ? call.bias + tile.output : nullptr};
    byte_kernels(isa).scale(memory.sums.data() + row * tile.outputs, tile.outputs, scales, call.accumulate && !is_apart, to);
    if (call.activation != Activation::kNone) dense_kernels(isa).activate(call.activation, to, tile.outputs);
    for (int64_t o = 0; is_apart && o < tile.outputs; ++o) out[o] += to[o];
  }
}

void compute(InstructionSet isa, const LinearCall& call, const Tile& tile, const Rounded& x, Memory& memory) {
  const auto& weight = static_cast<const Bytes&>(call.weight);
  WeightLayout layout = weight.layout;
  layout.out = tile.outputs;
  layout.padded_out = (tile.outputs + layout.panel - 1) / layout.panel * layout.panel;
  memory.sums.resize(std::max(memory.sums.size(), static_cast<size_t>(tile.rows * tile.outputs)));
  multiply_bytes(
      {layout, reinterpret_cast<const int8_t*>(weight.values.raw()) + tile.output * layout.padded_in, x.x, tile.rows, memory.sums.data()});
  finish(isa, call, tile, x.scales, memory);
}

Memory& own_memory() {
  thread_local Memory memory;
  return memory;
}

// 64 rows and 512 outputs: the inputs, sums and panels of a tile fit in a core's L2 cache.
constexpr int64_t kTileRows = 64, kTileOutputs = 512;

// For few rows: the calling thread rounds all of them, then threads divide the outputs among themselves.
void few_rows(InstructionSet isa, const LinearCall& call) {
  const auto& weight = static_cast<const Bytes&>(call.weight);
  const int64_t panel = weight.layout.panel, step = std::max<int64_t>(1, 128 / panel) * panel;
  Memory& rounded = own_memory();
  round_rows(byte_kernels(isa), call, 0, call.rows, rounded);
  const Rounded x{rounded.x.data(), rounded.scales.data()};
  parallel_ranges((weight.out + step - 1) / step, grain_of(weight.in * step / 4), [&](int64_t begin, int64_t end, int) {
    thread_local Memory sums;
    for (int64_t output = begin * step; output < std::min(end * step, weight.out); output += kTileOutputs)
      compute(isa, call, {0, call.rows, output, std::min({kTileOutputs, end * step - output, weight.out - output})}, x, sums);
  });
}

// For many rows: each thread rounds and multiplies 64 rows at a time, for all outputs.
void many_rows(InstructionSet isa, const LinearCall& call) {
  const auto& weight = static_cast<const Bytes&>(call.weight);
  parallel_for((call.rows + kTileRows - 1) / kTileRows, [&](int64_t at, int) {
    const int64_t first = at * kTileRows, rows = std::min(kTileRows, call.rows - first);
    Memory& memory = own_memory();
    round_rows(byte_kernels(isa), call, first, rows, memory);
    const Rounded x{memory.x.data(), memory.scales.data()};
    for (int64_t output = 0; output < weight.out; output += kTileOutputs)
      compute(isa, call, {first, rows, output, std::min(kTileOutputs, weight.out - output)}, x, memory);
  });
}

// Multiplies the same rounded numbers in f32, if the weight has no byte layout (prepare_bytes).
void widened_rows(InstructionSet isa, const LinearCall& call) {
  const auto& weight = static_cast<const Bytes&>(call.weight);
  static const TensorPool pool;
  Tensor x = pool.take({call.rows, weight.in});
  float* to = x.mutable_data<float>();
  parallel_ranges(call.rows, grain_of(weight.in), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) byte_kernels(isa).round_wide(call.x + row * call.x_stride, weight.in, to + row * weight.in);
  });
  LinearCall wide{.weight = *weight.widened,
                  .x = to,
                  .rows = call.rows,
                  .x_stride = weight.in,
                  .bias = call.bias,
                  .activation = call.activation,
                  .accumulate = call.accumulate,
                  .out = call.out,
                  .out_stride = call.out_stride};
  linear_low_precision(isa, wide);
}

}  // namespace

std::shared_ptr<const PreparedWeight> prepare_bytes(InstructionSet isa, const WeightPart* parts, int64_t count) {
  auto weight = std::make_shared<Bytes>();
  weight->storage = WeightStorage::kInt8Dynamic;
  const std::vector<PartView> views = views_of(parts, count, weight->in, weight->out);
  const bool is_exact = isa == InstructionSet::kAvx512 && weight->in > 0 && weight->in <= kMostExactInputs && weight->out > 0;
  const std::optional<WeightLayout> layout = is_exact ? byte_layout(weight->in, weight->out) : std::nullopt;
  if (!layout) {
    weight->widened = prepare_low_precision(isa, parts, count, WeightStorage::kInt8);
    weight->bytes = weight->widened->bytes;
    return weight;
  }
  weight->layout = *layout;
  weight->values = Tensor::zeros({layout->elements()}, DType::kU8);
  weight->scales.resize(static_cast<size_t>(weight->out));
  weight->offsets.resize(static_cast<size_t>(weight->out));
  weight->bytes = weight->values.bytes() + weight->scales.size() * (sizeof(float) + sizeof(int32_t));
  (void)weight->values.mutable_raw();
  int64_t before = 0;
  for (const PartView& part : views) {
    parallel_ranges(part.out, grain_of(weight->in), [&](int64_t begin, int64_t end, int) {
      std::vector<float> row(static_cast<size_t>(weight->in));
      for (int64_t o = begin; o < end; ++o) {
        copy_output(part, o, weight->in, row.data(), 1);
        store_output(row, *weight, before + o);
      }
    });
    before += part.out;
  }
  return weight;
}

void linear_bytes(InstructionSet isa, const LinearCall& call) {
  const auto& weight = static_cast<const Bytes&>(call.weight);
  if (call.rows == 0 || weight.out == 0) return;
  if (weight.widened) return widened_rows(isa, call);
  call.rows < 2 * kTileRows ? few_rows(isa, call) : many_rows(isa, call);
}

}  // namespace clearhead::cpu
