// Divides the gradients of the dense ops among threads, by elements or rows. The number of parts of a sum over rows
// depends on the shape alone, and the parts are added in order.
#include <algorithm>
#include <vector>

#include "backends/cpu/dense/dense.h"
#include "backends/cpu/dense/gate_kernels.h"
#include "backends/cpu/dense/gradient_kernels.h"
#include "base/grain.h"
#include "base/parallel.h"

namespace clearhead::cpu {
namespace {

constexpr int64_t kParts = 16;  // maximum number of parts of a sum over rows

void activation_for(InstructionSet isa, const ActivationGradientCall& call) {
  parallel_ranges(call.count, kGrain, [&](int64_t begin, int64_t end, int) { gradient_kernels(isa).activation(call, begin, end); });
}

void gated_for(InstructionSet isa, const GatedGradientCall& call) {
  parallel_ranges(call.rows, grain_of(call.width), [&](int64_t begin, int64_t end, int) { gradient_kernels(isa).gated(call, begin, end); });
}

// Calls run(begin, end, sums) for the rows of each part, with a separate array `sums` of `wide` zeros. Then adds the parts
// to `to` in order.
template <class Run>
void sum_of_parts(InstructionSet isa, int64_t rows, int64_t wide, const Run& run, const std::vector<std::pair<float*, int64_t>>& to) {
  const int64_t parts = std::clamp<int64_t>(rows * wide / kGrain, 1, kParts), each = (rows + parts - 1) / parts;
  std::vector<float> sums(static_cast<size_t>(parts * wide), 0);
  parallel_for(parts, [&](int64_t part, int) {
    const int64_t begin = std::min(rows, part * each);
    run(begin, std::min(rows, begin + each), sums.data() + part * wide);
  });
  for (int64_t part = 0; part < parts; ++part) {
    const float* from = sums.data() + part * wide;
    for (const auto& [target, count] : to) {
      if (target) gradient_kernels(isa).add_scaled(from, 1, target, count);
      from += count;
    }
  }
}

void norm_for(InstructionSet isa, const NormGradientCall& call) {
  const auto run = [&](int64_t begin, int64_t end, float* sums) {
    NormGradientCall part = call;
    part.d_weight = call.d_weight ? sums : nullptr;
    part.d_bias = call.d_bias ? sums + call.width : nullptr;
    gradient_kernels(isa).norm(part, begin, end);
  };
  sum_of_parts(isa, call.rows, 2 * call.width, run, {{call.d_weight, call.width}, {call.d_bias, call.width}});
}

void column_sums_for(InstructionSet isa, const ColumnSumCall& call) {
  const auto run = [&](int64_t begin, int64_t end, float* sums) {
    ColumnSumCall part = call;
    part.sums = sums;
    gradient_kernels(isa).column_sums(part, begin, end);
  };
  sum_of_parts(isa, call.rows, call.width, run, {{call.sums, call.width}});
}

// Each entry of the table belongs to one part, so rows with the same id are added in order.
void embedding_for(InstructionSet isa, const EmbeddingGradientCall& call) {
  parallel_for(kParts, [&](int64_t part, int) {
    for (int64_t row = 0; row < call.rows; ++row) {
      if (call.ids[row] % kParts != part) continue;
      gradient_kernels(isa).add_scaled(call.d_out + row * call.width, call.scale, call.d_table + call.ids[row] * call.width, call.width);
    }
  });
}

template <auto kKernel>
void cross_entropy_for(InstructionSet isa, const CrossEntropyCall& call) {
  parallel_ranges(call.rows, grain_of(call.classes),
                  [&](int64_t begin, int64_t end, int) { (gradient_kernels(isa).*kKernel)(call, begin, end); });
}

void dropout(const DropoutCall& call) {
  const uint32_t threshold = dropout_threshold(call.rate);
  const float scale = 65536.0F / (65536.0F - static_cast<float>(threshold));
  parallel_ranges((call.count + 3) / 4, kGrain / 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t four = begin; four < end; ++four) {
      const uint64_t number = random_bits(call.seed, static_cast<uint64_t>(four));
      for (int64_t i = four * 4; i < std::min(call.count, four * 4 + 4); ++i) {
        const float value = keeps(number, i, threshold) ? call.x[i] * scale : 0;
        call.out[i] = call.accumulate ? call.out[i] + value : value;
      }
    }
  });
}

void adam_for(InstructionSet isa, const AdamCall& call) {
  parallel_ranges(call.count, kGrain, [&](int64_t begin, int64_t end, int) { gradient_kernels(isa).adam(call, begin, end); });
}

void sgd_for(InstructionSet isa, const SgdCall& call) {
  parallel_ranges(call.count, kGrain, [&](int64_t begin, int64_t end, int) { gradient_kernels(isa).sgd(call, begin, end); });
}

double sum_of_squares_for(InstructionSet isa, const float* x, int64_t count) {
  const int64_t pieces = (count + kGrain - 1) / kGrain;
  std::vector<double> sums(static_cast<size_t>(pieces), 0);
  parallel_for(pieces, [&](int64_t piece, int) {
    sums[static_cast<size_t>(piece)] = gradient_kernels(isa).sum_of_squares(x + piece * kGrain, std::min(kGrain, count - piece * kGrain));
  });
  double sum = 0;
  for (const double piece : sums) sum += piece;
  return sum;
}

void softmax_gradient_for(InstructionSet isa, const SoftmaxGradientCall& call) {
  parallel_ranges(call.rows, grain_of(call.width),
                  [&](int64_t begin, int64_t end, int) { gradient_kernels(isa).softmax_gradient(call, begin, end); });
}

void gates_for(InstructionSet isa, const GateGradientCall& call) {
  parallel_ranges(call.rows, grain_of(gates_of(call.kind) * call.width),
                  [&](int64_t begin, int64_t end, int) { gate_kernels(isa).gradient(call, begin, end); });
}

template <InstructionSet kIsa>
const DenseGradients& table() {
  static const DenseGradients gradients = {
      [](const ActivationGradientCall& call) { activation_for(kIsa, call); },
      [](const GatedGradientCall& call) { gated_for(kIsa, call); },
      [](const NormGradientCall& call) { norm_for(kIsa, call); },
      [](const ColumnSumCall& call) { column_sums_for(kIsa, call); },
      [](const EmbeddingGradientCall& call) { embedding_for(kIsa, call); },
      [](const CrossEntropyCall& call) { cross_entropy_for<&GradientKernels::cross_entropy>(kIsa, call); },
      [](const CrossEntropyCall& call) { cross_entropy_for<&GradientKernels::cross_entropy_gradient>(kIsa, call); },
      dropout,
      [](const AdamCall& call) { adam_for(kIsa, call); },
      [](const SgdCall& call) { sgd_for(kIsa, call); },
      [](const float* x, int64_t count) { return sum_of_squares_for(kIsa, x, count); },
      [](const SoftmaxGradientCall& call) { softmax_gradient_for(kIsa, call); },
      [](const ConvolutionGradientCall& call) { convolution_gradient(kIsa, call); },
      [](const GateGradientCall& call) { gates_for(kIsa, call); },
  };
  return gradients;
}

}  // namespace

const DenseGradients& dense_gradients(InstructionSet isa) {
  return isa == InstructionSet::kAvx512 ? table<InstructionSet::kAvx512>() : table<InstructionSet::kAvx2>();
}

}  // namespace clearhead::cpu
