// The gates of recurrent layers and their gradients: the formulas of recurrence.h in double.
#include "backends/recurrence.h"

#include <cmath>

#include "backends/ref/dense.h"

namespace clearhead {
namespace {

double wide(float x) { return static_cast<double>(x); }
double logistic(double x) { return 1 / (1 + std::exp(-x)); }
float narrow(double x) { return static_cast<float>(x); }

void gru_row(const GateCall& call, int64_t row, int64_t c) {
  float* a = call.gates.row(row);
  const float *b = call.hidden.row(row), *h = call.state.row(row);
  const int64_t w = call.width;
  const double r = logistic(wide(a[c]) + wide(b[c])), z = logistic(wide(a[w + c]) + wide(b[w + c]));
  const double n = std::tanh(wide(a[2 * w + c]) + r * wide(b[2 * w + c]));
  call.next.row(row)[c] = narrow((1 - z) * n + z * wide(h[c]));
  a[c] = narrow(r), a[w + c] = narrow(z), a[2 * w + c] = narrow(n);
}

void lstm_row(const GateCall& call, int64_t row, int64_t c) {
  float* a = call.gates.row(row);
  const int64_t w = call.width;
  const double i = logistic(wide(a[c])), f = logistic(wide(a[w + c])), g = std::tanh(wide(a[2 * w + c])), o = logistic(wide(a[3 * w + c]));
  const double next = f * wide(call.cell.row(row)[c]) + i * g;
  call.next_cell.row(row)[c] = narrow(next);
  call.next.row(row)[c] = narrow(o * std::tanh(next));
  a[c] = narrow(i), a[w + c] = narrow(f), a[2 * w + c] = narrow(g), a[3 * w + c] = narrow(o);
}

void gru_back(const GateGradientCall& call, int64_t row, int64_t c, double d) {
  const float *gates = call.gates.row(row), *b = call.hidden.row(row);
  const int64_t w = call.width;
  const double r = wide(gates[c]), z = wide(gates[w + c]), n = wide(gates[2 * w + c]), h = wide(call.state.row(row)[c]);
  const double d_n = d * (1 - z) * (1 - n * n), d_z = d * (h - n) * z * (1 - z), d_r = d_n * wide(b[2 * w + c]) * r * (1 - r);
  float *to_a = call.d_gates.row(row), *to_b = call.d_hidden.row(row);
  to_a[c] = to_b[c] = narrow(d_r);
  to_a[w + c] = to_b[w + c] = narrow(d_z);
  to_a[2 * w + c] = narrow(d_n);
  to_b[2 * w + c] = narrow(d_n * r);
  call.d_state[row * w + c] = narrow(d * z);
}

void lstm_back(const GateGradientCall& call, int64_t row, int64_t c, double d) {
  const float* gates = call.gates.row(row);
  const int64_t w = call.width;
  const double i = wide(gates[c]), f = wide(gates[w + c]), g = wide(gates[2 * w + c]), o = wide(gates[3 * w + c]);
  const double t = std::tanh(wide(call.next_cell.row(row)[c]));
  const double d_c = wide(call.d_next_cell.row(row)[c]) + wide(call.d_cell[row * w + c]) + d * o * (1 - t * t);
  float* to = call.d_gates.row(row);
  to[c] = narrow(d_c * g * i * (1 - i));
  to[w + c] = narrow(d_c * wide(call.cell.row(row)[c]) * f * (1 - f));
  to[2 * w + c] = narrow(d_c * i * (1 - g * g));
  to[3 * w + c] = narrow(d * t * o * (1 - o));
  call.d_cell[row * w + c] = narrow(d_c * f);
  call.d_state[row * w + c] = 0;
}

}  // namespace

void ref_gates(const GateCall& call) {
  const bool lstm = call.kind == RecurrentKind::kLstm;
  for (int64_t at = 0; at < call.rows * call.width; ++at) {
    const int64_t row = at / call.width, c = at % call.width;
    if (!call.runs || call.runs[row]) {
      lstm ? lstm_row(call, row, c) : gru_row(call, row, c);
      continue;
    }
    call.next.row(row)[c] = call.state.row(row)[c];
    if (lstm) call.next_cell.row(row)[c] = call.cell.row(row)[c];
  }
}

void ref_gates_gradient(const GateGradientCall& call) {
  const bool lstm = call.kind == RecurrentKind::kLstm;
  for (int64_t at = 0; at < call.rows * call.width; ++at) {
    const int64_t row = at / call.width, c = at % call.width;
    const double d = wide(call.d_next.row(row)[c]) + wide(call.d_state[at]);
    if (!call.runs || call.runs[row]) {
      lstm ? lstm_back(call, row, c, d) : gru_back(call, row, c, d);
      continue;
    }
    call.d_state[at] = narrow(d);
    if (lstm) call.d_cell[at] += call.d_next_cell.row(row)[c];
    for (int64_t gate = 0; gate < gates_of(call.kind); ++gate) {
      call.d_gates.row(row)[gate * call.width + c] = 0;
      if (!lstm) call.d_hidden.row(row)[gate * call.width + c] = 0;
    }
  }
}

}  // namespace clearhead
