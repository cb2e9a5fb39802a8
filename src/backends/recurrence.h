// One step of a recurrent layer after its matrix products: gates, and the new state. σ is the logistic function;
// products are elementwise.
//
//   GRU (Cho et al. 2014), with the reset gate after the product, as in PyTorch and cuDNN:
//     r = σ(a_r + b_r)   z = σ(a_z + b_z)   n = tanh(a_n + r·b_n)   h' = (1 − z)·n + z·h
//     a = W_ih·x + b_ih,  b = W_hh·h + b_hh
//   LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000):
//     i, f, o = σ(a_i), σ(a_f), σ(a_o)   g = tanh(a_g)   c' = f·c + i·g   h' = o·tanh c'
//     a = W_ih·x + b_ih + W_hh·h + b_hh
//
// A row holds its gates side by side: r, z, n (GRU) or i, f, g, o (LSTM). A sequence that has ended keeps its state.
#pragma once

#include <cstdint>

namespace clearhead {

enum class RecurrentKind : uint8_t { kGru, kLstm };
inline int64_t gates_of(RecurrentKind kind) { return kind == RecurrentKind::kGru ? 3 : 4; }

template <class T>
struct StridedRows {
  T* data = nullptr;
  int64_t stride = 0;
  T* row(int64_t at) const { return data + at * stride; }
};

struct GateCall {
  RecurrentKind kind = RecurrentKind::kGru;
  int64_t rows = 0, width = 0;               // sequences, hidden units
  const uint8_t* runs = nullptr;             // [rows]: 0 if the sequence has ended; null if none has
  StridedRows<float> gates{};                // [rows, gates·width]: in: a. Out: r, z, n or i, f, g, o
  StridedRows<const float> hidden{};         // [rows, 3·width]: b; GRU only
  StridedRows<const float> state{}, cell{};  // [rows, width]: h, c
  StridedRows<float> next{}, next_cell{};    // h', c'
};

/// The gradient of the same step.
struct GateGradientCall {
  RecurrentKind kind = RecurrentKind::kGru;
  int64_t rows = 0, width = 0;
  const uint8_t* runs = nullptr;
  StridedRows<const float> gates{}, hidden{};  // as the forward call left them
  StridedRows<const float> state{}, cell{}, next_cell{};
  StridedRows<const float> d_next{}, d_next_cell{};  // of h' and c', from outside the layer
  // [rows, width]. In: gradients of h' and c' from later steps. Out: gradients of h, without the part through W_hh, and
  // of c.
  float *d_state = nullptr, *d_cell = nullptr;
  StridedRows<float> d_gates{};   // of a
  StridedRows<float> d_hidden{};  // of b; GRU only
};

}  // namespace clearhead
