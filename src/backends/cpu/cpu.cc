// The function tables for AVX2 and AVX-512. They refuse lengths of 2^31 − 1 or more, and rule tables with that
// many entries. Each call gets its driver from dispatch.h, once. Its operands are widened if the driver computes in f32,
// and a paged cache is copied to rows if the driver needs rows.
#include "backends/cpu/cpu.h"

#include "backends/cpu/dense/dense.h"
#include "backends/cpu/dispatch.h"
#include "backends/cpu/kernels.h"
#include "backends/cpu/simd/targets.h"
#include "backends/sweep_rows.h"
#include "backends/widen.h"
// Must follow targets.h, which chooses the targets that Highway compiles.
#include <hwy/highway.h>

#include <algorithm>
#include <optional>

#include "spec/page_rows.h"

namespace clearhead {
namespace cpu {
namespace {

std::optional<std::string> refusal(const AttentionSpec& spec, const AttentionShape& shape) {
  const auto is_large = [](const Tensor& table) { return table.numel() >= INT32_MAX; };
  const auto has_large = [&](const Rule* rule) { return rule && std::any_of(rule->tables.begin(), rule->tables.end(), is_large); };
  bool large = has_large(spec.topology.visible ? &*spec.topology.visible : nullptr);
  for (const Term& term : spec.terms) large = large || has_large(std::get_if<Rule>(&term));
  if (large) return "a rule's table of 2^31 entries or more";
  if (shape.keys >= INT32_MAX || shape.queries >= INT32_MAX) return "lengths of 2^31 or more";
  return std::nullopt;
}

// The entry points of one instruction set.
struct Kernels {
  InstructionSet isa;
  void (*forward)(const ForwardCall&, const ForwardChoice&);
  void (*backward)(const BackwardCall&, const BackwardChoice&);
  void (*weights)(const WeightsCall&, Products);
  ReductionResult (*sweep)(const SweepCall&, const ReductionChoice&);
};
constexpr Kernels kAvx2{InstructionSet::kAvx2, N_AVX2::forward, N_AVX2::backward, N_AVX2::weights, N_AVX2::sweep};
constexpr Kernels kAvx512{InstructionSet::kAvx512, N_AVX3::forward, N_AVX3::backward, N_AVX3::weights, N_AVX3::sweep};

template <const Kernels& kKernels>
void weights(const WeightsCall& call) {
  const Products products = choose_look(facts_of(call.record, this_machine(kKernels.isa)));
  const auto kernel = [&](const WeightsCall& of) { kKernels.weights(of, products); };
  products == Products::kF32 ? weights_widened(call, kernel) : kernel(call);
}

template <const Kernels& kKernels>
ReductionResult sweep(const SweepCall& call) {
  const ReductionChoice choice = choose_reduction(facts_of(call, this_machine(kKernels.isa)));
  const auto kernel = [&](const SweepCall& of) { return kKernels.sweep(of, choice); };
  return choice.products == Products::kF32 ? sweep_widened(call, kernel) : kernel(call);
}

// Calls the chosen driver with operands in the dtype that it expects.
template <const Kernels& kKernels>
void forward_chosen(const ForwardCall& call, const ForwardChoice& choice) {
  const auto kernel = [&](const ForwardCall& of) {
    kKernels.forward(of, choice);
    if (!sums_rows(choice.driver)) sweep_rows(of, sweep<kKernels>);
  };
  if (choice.products == Products::kF32) return forward_widened(call, kernel);
  takes_bf16_values(choice.driver) ? kernel(call) : forward_with_wide_values(call, kernel);
}

template <const Kernels& kKernels>
void forward(const ForwardCall& call) {
  if (call.q.size(0) * call.q.size(1) * call.q.size(2) == 0) return;
  const ForwardChoice choice = choose_forward(facts_of(call, this_machine(kKernels.isa)));
  if (!choice.page_rows) return forward_chosen<kKernels>(call, choice);
  const auto& paged = std::get<PagedKV>(call.keys);
  const Keys keys = key_rows(paged, *choice.page_rows);
  const Tensor values = value_rows(paged, *choice.page_rows);
  const auto& [spec, q, _keys, _v, out, rows, entropies, distances] = call;
  forward_chosen<kKernels>({spec, q, keys, values, out, rows, entropies, distances}, choice);
}

template <const Kernels& kKernels>
void backward(const BackwardCall& call) {
  const BackwardChoice choice = choose_backward(facts_of(call, this_machine(kKernels.isa)));
  backward_widened(call, choice.products != Products::kF32, [&](const BackwardCall& of) { kKernels.backward(of, choice); });
}

template <const Kernels& kKernels>
Backend table() {
  return {.name = "cpu",
          .isa = kKernels.isa,
          .refusal = refusal,
          .forward = forward<kKernels>,
          .backward = backward<kKernels>,
          .weights = weights<kKernels>,
          .sweep = sweep<kKernels>,
          .dense = dense_ops(kKernels.isa),
          .gradients = dense_gradients(kKernels.isa)};
}
const Backend kAvx2Table = table<kAvx2>(), kAvx512Table = table<kAvx512>();

}  // namespace

}  // namespace cpu

const Backend* cpu_backend(InstructionSet isa) {
  const auto runs = [](int64_t target) { return (hwy::SupportedTargets() & target) != 0; };
  if (isa == InstructionSet::kAvx512 && runs(HWY_AVX3)) return &cpu::kAvx512Table;
  if (isa == InstructionSet::kAvx2 && runs(HWY_AVX2)) return &cpu::kAvx2Table;
  return nullptr;
}

}  // namespace clearhead
