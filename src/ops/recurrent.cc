// GRU and LSTM over whole sequences. Formulas of one step: backends/recurrence.h.
//
//   W_ih·x is one product over all steps; so are the gradients of W_ih, W_hh and x. Each step computes W_hh·h (in the backward pass
//   the product of W_hhᵀ with the gradient of W_hh·h + b_hh) and one pass over the gates.
//
// Kept for the backward pass: the activated gates and, for a GRU, W_hh·h + b_hh. The states are the result itself.
#include <vector>

#include "backends/registry.h"
#include "base/format.h"
#include "ops/ops.h"

namespace clearhead::ops {
namespace {

struct Layer {
  RecurrentKind kind;
  int64_t batch, time, in, width;
  bool backwards;
  std::vector<uint8_t> runs;  // [time, batch]; empty: every sequence runs to the end

  int64_t gates() const { return gates_of(kind) * width; }
  bool is_lstm() const { return kind == RecurrentKind::kLstm; }
  int64_t time_of(int64_t step) const { return backwards ? time - 1 - step : step; }
  const uint8_t* runs_at(int64_t t) const { return runs.empty() ? nullptr : runs.data() + t * batch; }
};

// Step t of [batch, time, width].
template <class T>
StridedRows<T> at_time(T* data, int64_t t, const Layer& layer, int64_t width) {
  return {data + t * width, layer.time * width};
}
// The state before step number `step`.
StridedRows<const float> before(const float* states, const float* initial, int64_t step, const Layer& layer) {
  if (step == 0) return {initial, layer.width};
  return at_time(states, layer.time_of(step - 1), layer, layer.width);
}

MatrixView view(StridedRows<const float> rows) { return {rows.data, rows.stride, 1}; }

Layer check(RecurrentKind kind, const Tensor& x, const Recurrence& given, const Tensor& out) {
  const bool ranks = x.rank() == 3 && x.is_contiguous() && given.hidden_weight.rank() == 2 && given.input_weight.rank() == 2;
  if (!ranks) {
    fail(ErrorCode::kShape,
         "recurrence: x is {}, the weights {} and {}; expected contiguous [batch, time, in], [gates·hidden, in] and [gates·hidden, hidden]",
         to_string(x.shape()), to_string(given.input_weight.shape()), to_string(given.hidden_weight.shape()));
  }
  Layer layer{kind, x.size(0), x.size(1), x.size(2), given.hidden_weight.size(1), given.backwards, {}};
  const auto expect = [](const char* what, const Tensor& t, const Shape& shape, bool optional) {
    if ((optional && !t.defined()) || (t.shape() == shape && t.is_contiguous())) return;
    fail(ErrorCode::kShape, "recurrence: {} is {}; expected a contiguous {}{}", what, to_string(t.shape()), to_string(shape),
         optional ? ", or none" : "");
  };
  const Shape state = {layer.batch, layer.width};
  if (layer.width < 1 || layer.in < 1)
    fail(ErrorCode::kShape, "recurrence: {} inputs and {} hidden units; expected one or more", layer.in, layer.width);
  expect("the input's weight", given.input_weight, {layer.gates(), layer.in}, false);
  expect("the hidden state's weight", given.hidden_weight, {layer.gates(), layer.width}, false);
  expect("the input's bias", given.input_bias, {layer.gates()}, true);
  expect("the hidden state's bias", given.hidden_bias, {layer.gates()}, true);
  expect("the initial state", given.state, state, true);
  expect("the initial cell state", given.cell, layer.is_lstm() ? state : Shape{}, true);
  const Shape sequence = {layer.batch, layer.time, layer.width};
  expect("out", out, layer.is_lstm() ? Shape{2, layer.batch, layer.time, layer.width} : sequence, false);
  if (given.lengths.empty()) return layer;
  if (static_cast<int64_t>(given.lengths.size()) != layer.batch) {
    fail(ErrorCode::kShape, "recurrence: {} lengths for {} sequences; expected one for each", given.lengths.size(), layer.batch);
  }
  for (int64_t t = 0; t < layer.time; ++t) {
    for (const int32_t length : given.lengths) layer.runs.push_back(t < length);
  }
  for (const int32_t length : given.lengths) {
    if (length < 0 || length > layer.time)
      fail(ErrorCode::kInvalidArgument, "recurrence: a length of {}; expected 0 to {}", length, layer.time);
  }
  return layer;
}

const float* data_or_null(const Tensor& t) { return t.defined() ? t.data<float>() : nullptr; }

// Tensors of the forward pass that the backward pass needs.
struct Kept {
  Tensor gates, hidden, out, state, cell;  // hidden: GRU only
  const float* states() const { return out.data<float>(); }
  const float* cells(const Layer& layer) const {
    return layer.is_lstm() ? out.data<float>() + layer.batch * layer.time * layer.width : nullptr;
  }
};

void forward(const Layer& layer, const Tensor& x, const Recurrence& given, Kept& kept) {
  const int64_t gates = layer.gates(), plane = layer.batch * layer.time * layer.width;
  backend().dense.product({.a = {x.data<float>(), layer.in, 1},
                           .b = MatrixView{given.input_weight.data<float>(), layer.in, 1}.transposed(),
                           .rows = layer.batch * layer.time,
                           .inner = layer.in,
                           .columns = gates,
                           .bias = data_or_null(given.input_bias),
                           .out = kept.gates.mutable_data<float>(),
                           .out_stride = gates});
  float *opened = kept.gates.mutable_data<float>(), *out = kept.out.mutable_data<float>();
  float* hidden = layer.is_lstm() ? opened : kept.hidden.mutable_data<float>();
  float* cells = layer.is_lstm() ? out + plane : nullptr;
  const float *state = kept.state.data<float>(), *cell = kept.cell.data<float>();
  for (int64_t step = 0; step < layer.time; ++step) {
    const int64_t t = layer.time_of(step);
    const StridedRows<const float> h = before(out, state, step, layer);
    const StridedRows<float> to = at_time(hidden, t, layer, gates);
    backend().dense.product({.a = view(h),
                             .b = MatrixView{given.hidden_weight.data<float>(), layer.width, 1}.transposed(),
                             .rows = layer.batch,
                             .inner = layer.width,
                             .columns = gates,
                             .bias = data_or_null(given.hidden_bias),
                             .accumulate = layer.is_lstm(),
                             .out = to.data,
                             .out_stride = to.stride});
    GateCall call{.kind = layer.kind, .rows = layer.batch, .width = layer.width, .runs = layer.runs_at(t)};
    call.gates = at_time(opened, t, layer, gates);
    call.hidden = {to.data, to.stride};
    call.state = h;
    call.next = at_time(out, t, layer, layer.width);
    if (layer.is_lstm()) {
      call.cell = before(cells, cell, step, layer);
      call.next_cell = at_time(cells, t, layer, layer.width);
    }
    backend().dense.gates(call);
  }
}

// Gradients of the inputs of the gates at all steps, and of the initial state and cell.
struct GateGradients {
  Tensor gates, hidden;  // of W_ih·x + b_ih and of W_hh·h + b_hh, [batch, time, gates·hidden]; for an LSTM the same tensor
  Tensor state, cell;    // [batch, hidden]
};

GateGradients gates_back(const Layer& layer, const Kept& kept, const Tensor& hidden_weight, const Tensor& d_out) {
  const int64_t gates = layer.gates(), plane = layer.batch * layer.time * layer.width;
  GateGradients d;
  d.gates = Tensor::empty({layer.batch, layer.time, gates});
  d.hidden = layer.is_lstm() ? d.gates : Tensor::empty(d.gates.shape());
  d.state = Tensor::zeros({layer.batch, layer.width});
  d.cell = Tensor::zeros({layer.batch, layer.width});
  float *to_gates = d.gates.mutable_data<float>(), *to_hidden = d.hidden.mutable_data<float>(), *d_state = d.state.mutable_data<float>();
  const float *opened = kept.gates.data<float>(), *out = kept.states(), *cells = kept.cells(layer);
  for (int64_t step = layer.time; step-- > 0;) {
    const int64_t t = layer.time_of(step);
    GateGradientCall call{.kind = layer.kind, .rows = layer.batch, .width = layer.width, .runs = layer.runs_at(t)};
    call.gates = at_time(opened, t, layer, gates);
    call.state = before(out, kept.state.data<float>(), step, layer);
    call.d_next = at_time(d_out.data<float>(), t, layer, layer.width);
    call.d_state = d_state;
    call.d_gates = at_time(to_gates, t, layer, gates);
    call.d_hidden = at_time(to_hidden, t, layer, gates);
    if (layer.is_lstm()) {
      call.cell = before(cells, kept.cell.data<float>(), step, layer);
      call.next_cell = at_time(cells, t, layer, layer.width);
      call.d_next_cell = at_time(d_out.data<float>() + plane, t, layer, layer.width);
      call.d_cell = d.cell.mutable_data<float>();
    } else {
      call.hidden = at_time(kept.hidden.data<float>(), t, layer, gates);
    }
    backend().gradients.gates(call);
    backend().dense.product({.a = {call.d_hidden.data, call.d_hidden.stride, 1},
                             .b = {hidden_weight.data<float>(), layer.width, 1},
                             .rows = layer.batch,
                             .inner = gates,
                             .columns = layer.width,
                             .accumulate = true,
                             .out = d_state,
                             .out_stride = layer.width});
  }
  return d;
}

// The state before each step, [batch, time, hidden].
Tensor states_before(const Layer& layer, const Kept& kept) {
  Tensor all = Tensor::empty({layer.batch, layer.time, layer.width});
  const Tensor out = layer.is_lstm() ? kept.out.select(0, 0) : kept.out;
  const int64_t first = layer.time_of(0), shift = layer.backwards ? 1 : 0;
  Tensor initial = all.select(1, first), others = all.slice(1, 1 - shift, layer.time - shift);
  add_strided(kept.state, initial, false);
  add_strided(out.slice(1, shift, layer.time - 1 + shift), others, false);
  return all;
}

void reverse(Gradients& gradients, const Layer& layer, const Tensor& x, const Recurrence& given, const Kept& kept) {
  const Tensor d_out = gradients.of(kept.out);
  GateGradients d = gates_back(layer, kept, given.hidden_weight, d_out);
  const int64_t rows = layer.batch * layer.time, gates = layer.gates();
  const MatrixView d_gates{d.gates.data<float>(), gates, 1}, d_hidden{d.hidden.data<float>(), gates, 1};
  const auto product = [&](const MatrixView& a, const Tensor& b, int64_t inner, const Tensor& of) {
    if (!gradients.wants(of)) return;
    Gradients::Place to = gradients.place(of);
    const int64_t columns = of.size(-1);
    backend().dense.product({.a = a,
                             .b = {b.data<float>(), columns, 1},
                             .rows = of.numel() / columns,
                             .inner = inner,
                             .columns = columns,
                             .accumulate = to.accumulate,
                             .out = to.gradient.mutable_data<float>(),
                             .out_stride = columns});
  };
  product(d_gates, given.input_weight, gates, x);
  product(d_gates.transposed(), x, rows, given.input_weight);
  if (gradients.wants(given.hidden_weight)) product(d_hidden.transposed(), states_before(layer, kept), rows, given.hidden_weight);
  const auto sums = [&](const Tensor& bias, const Tensor& from) {
    if (!bias.defined() || !gradients.wants(bias)) return;
    Tensor to = gradients.of(bias);
    backend().gradients.column_sums({from.data<float>(), rows, gates, gates, to.mutable_data<float>()});
  };
  sums(given.input_bias, d.gates);
  sums(given.hidden_bias, d.hidden);
  const auto send = [&](const Tensor& to, const Tensor& from) {
    if (!to.defined() || !gradients.wants(to)) return;
    Gradients::Place place = gradients.place(to);
    add_strided(from, place.gradient, place.accumulate);
  };
  send(given.state, d.state);
  send(given.cell, d.cell);
}

}  // namespace

void recurrent(Run& run, RecurrentKind kind, const Tensor& x, const Recurrence& given, Tensor& out) {
  const Layer layer = check(kind, x, given, out);
  if (out.numel() == 0) return;
  const bool records =
      run.records({&x, &given.input_weight, &given.hidden_weight, &given.input_bias, &given.hidden_bias, &given.state, &given.cell});
  const Arena::Scope scope(run.arena);
  const Shape opened = {layer.batch, layer.time, layer.gates()}, state = {layer.batch, layer.width};
  Kept kept{run.take(opened), layer.is_lstm() ? Tensor() : run.take(opened), out, given.state, given.cell};
  if (!kept.state.defined()) kept.state = Tensor::zeros(state);
  if (!kept.cell.defined()) kept.cell = Tensor::zeros(state);
  forward(layer, x, given, kept);
  if (!records) return;
  run.recorder->record("recurrence", out, {x, given.input_weight, given.hidden_weight, kept.gates, kept.hidden, out, kept.state, kept.cell},
                       [=](Gradients& gradients) { reverse(gradients, layer, x, given, kept); });
}

}  // namespace clearhead::ops
