// The gates of recurrent layers, with vector code. Every array is read and written once. Formulas: backends/recurrence.h.
#include "backends/cpu/dense/gate_kernels.h"

#include <algorithm>

#include "backends/cpu/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/dense/gate_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backends/cpu/simd/activation-inl.h"
#include "backends/cpu/simd/elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {
#if CLEARHEAD_TARGET_HAS_KERNELS
namespace {

void gru_row(const GateCall& call, int64_t row) {
  const int64_t w = call.width;
  float *a = call.gates.row(row), *next = call.next.row(row);
  const float *b = call.hidden.row(row), *h = call.state.row(row);
  for_each_vector(w, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats r = logistic(load(a) + load(b)), z = logistic(load(a + w) + load(b + w));
    const Floats n = hyperbolic_tangent(hn::MulAdd(r, load(b + 2 * w), load(a + 2 * w)));
    store(hn::MulAdd(z, load(h) - n, n), next);
    store(r, a);
    store(z, a + w);
    store(n, a + 2 * w);
  });
}

void lstm_row(const GateCall& call, int64_t row) {
  const int64_t w = call.width;
  float *a = call.gates.row(row), *next = call.next.row(row), *next_cell = call.next_cell.row(row);
  const float* cell = call.cell.row(row);
  for_each_vector(w, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats i = logistic(load(a)), f = logistic(load(a + w)), g = hyperbolic_tangent(load(a + 2 * w)), o = logistic(load(a + 3 * w));
    const Floats c = hn::MulAdd(f, load(cell), i * g);
    store(c, next_cell);
    store(o * hyperbolic_tangent(c), next);
    store(i, a);
    store(f, a + w);
    store(g, a + 2 * w);
    store(o, a + 3 * w);
  });
}

void gates(const GateCall& call, int64_t begin, int64_t end) {
  const bool lstm = call.kind == RecurrentKind::kLstm;
  for (int64_t row = begin; row < end; ++row) {
    if (!call.runs || call.runs[row]) {
      lstm ? lstm_row(call, row) : gru_row(call, row);
      continue;
    }
    std::copy_n(call.state.row(row), call.width, call.next.row(row));
    if (lstm) std::copy_n(call.cell.row(row), call.width, call.next_cell.row(row));
  }
}

void gru_back(const GateGradientCall& call, int64_t row) {
  const int64_t w = call.width;
  const float *gates = call.gates.row(row), *b = call.hidden.row(row), *state = call.state.row(row), *d_next = call.d_next.row(row);
  float *d_state = call.d_state + row * w, *to_a = call.d_gates.row(row), *to_b = call.d_hidden.row(row);
  const Floats one = hn::Set(F32(), 1.0F);
  for_each_vector(w, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats r = load(gates), z = load(gates + w), n = load(gates + 2 * w), d = load(d_next) + load(d_state);
    const Floats d_n = d * (one - z) * hn::NegMulAdd(n, n, one), d_z = d * (load(state) - n) * z * (one - z);
    const Floats d_r = d_n * load(b + 2 * w) * r * (one - r);
    store(d_r, to_a);
    store(d_r, to_b);
    store(d_z, to_a + w);
    store(d_z, to_b + w);
    store(d_n, to_a + 2 * w);
    store(d_n * r, to_b + 2 * w);
    store(d * z, d_state);
  });
}

void lstm_back(const GateGradientCall& call, int64_t row) {
  const int64_t w = call.width;
  const float *gates = call.gates.row(row), *cell = call.cell.row(row), *next_cell = call.next_cell.row(row);
  const float *d_next = call.d_next.row(row), *d_next_cell = call.d_next_cell.row(row);
  float *d_state = call.d_state + row * w, *d_cell = call.d_cell + row * w, *to = call.d_gates.row(row);
  const Floats one = hn::Set(F32(), 1.0F);
  for_each_vector(w, [&](const auto& load, const auto& store) HWY_ATTR {
    const Floats i = load(gates), f = load(gates + w), g = load(gates + 2 * w), o = load(gates + 3 * w), d = load(d_next) + load(d_state);
    const Floats t = hyperbolic_tangent(load(next_cell));
    const Floats d_c = hn::MulAdd(d * o, hn::NegMulAdd(t, t, one), load(d_next_cell) + load(d_cell));
    store(d_c * g * i * (one - i), to);
    store(d_c * load(cell) * f * (one - f), to + w);
    store(d_c * i * hn::NegMulAdd(g, g, one), to + 2 * w);
    store(d * t * o * (one - o), to + 3 * w);
    store(d_c * f, d_cell);
    store(hn::Zero(F32()), d_state);
  });
}

void gradient(const GateGradientCall& call, int64_t begin, int64_t end) {
  const bool lstm = call.kind == RecurrentKind::kLstm;
  const int64_t all = gates_of(call.kind) * call.width;
  for (int64_t row = begin; row < end; ++row) {
    if (!call.runs || call.runs[row]) {
      lstm ? lstm_back(call, row) : gru_back(call, row);
      continue;
    }
    for (int64_t c = 0; c < call.width; ++c) call.d_state[row * call.width + c] += call.d_next.row(row)[c];
    for (int64_t c = 0; c < call.width && lstm; ++c) call.d_cell[row * call.width + c] += call.d_next_cell.row(row)[c];
    std::fill_n(call.d_gates.row(row), all, 0.0F);
    if (!lstm) std::fill_n(call.d_hidden.row(row), all, 0.0F);
  }
}

const GateKernels* kernels() {
  static const GateKernels table = {gates, gradient};
  return &table;
}

}  // namespace
#endif  // CLEARHEAD_TARGET_HAS_KERNELS
}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace clearhead::cpu {

const GateKernels& gate_kernels(InstructionSet isa) { return isa == InstructionSet::kAvx512 ? *N_AVX3::kernels() : *N_AVX2::kernels(); }

}  // namespace clearhead::cpu
#endif
