// Multi-layer and bidirectional GRU and LSTM, with PyTorch's weight layout and names.
#include <cmath>

#include "base/format.h"
#include "clearhead/nn.h"

namespace clearhead::nn {

Recurrent::Recurrent(const Scope& scope, bool has_cell, int64_t in, int64_t hidden, const RecurrentOptions& options)
    : has_cell_(has_cell), bidirectional_(options.bidirectional), dropout_(options.dropout) {
  if (options.layers < 1 || in < 1 || hidden < 1) {
    fail(ErrorCode::kInvalidArgument, "recurrent layer \"{}\": {} layers of {} inputs and {} hidden units; expected 1 or more of each",
         scope.path(), options.layers, in, hidden);
  }
  const int64_t gates = has_cell ? 4 : 3, directions = bidirectional_ ? 2 : 1;
  const Init init = Init::uniform(1 / std::sqrt(static_cast<double>(hidden)));
  for (int64_t at = 0; at < options.layers * directions; ++at) {
    const int64_t layer = at / directions;
    const bool backwards = at % directions == 1;
    const std::string ending = "_l" + std::to_string(layer) + (backwards ? "_reverse" : "");
    const auto make = [&](const char* name, const Shape& shape) { return scope.parameter(name + ending, shape, init); };
    Recurrence one{.input_weight = make("weight_ih", {gates * hidden, layer == 0 ? in : directions * hidden}),
                   .hidden_weight = make("weight_hh", {gates * hidden, hidden}),
                   .backwards = backwards};
    if (options.bias) {
      one.input_bias = make("bias_ih", {gates * hidden});
      one.hidden_bias = make("bias_hh", {gates * hidden});
    }
    layers_.push_back(one);
  }
}

// Runs one layer in one direction. Returns its states [batch, length, hidden] and stores the last ones in the result.
Tensor Recurrent::run(Compute& compute, const Tensor& x, size_t at, Recurrence layer, RecurrentResult& result) const {
  const int64_t end = layer.backwards ? 0 : x.size(1) - 1;
  const auto last = [&](const Tensor& states) {
    const Tensor rows = states.select(1, end);
    return rows.is_contiguous() ? rows : compute.contiguous(rows);
  };
  if (!has_cell_) {
    const Tensor states = compute.gru(x, layer);
    result.last.state[at] = last(states);
    return states;
  }
  const Compute::LstmStates states = compute.lstm(x, layer);
  result.last.state[at] = last(states.state);
  result.last.cell[at] = last(states.cell);
  return states.state;
}

RecurrentResult Recurrent::operator()(Compute& compute, const Tensor& x, const Layout& layout, const RecurrentState& before) const {
  layout.check("recurrent layer", x);
  if (layout.length < 1) fail(ErrorCode::kShape, "recurrent layer: sequences of length {}; expected 1 or more", layout.length);
  for (const auto* given : {&before.state, &before.cell}) {
    if (!given->empty() && given->size() != layers_.size()) {
      fail(ErrorCode::kShape, "recurrent layer: {} states before the first step; expected {}, one for each layer and direction",
           given->size(), layers_.size());
    }
  }
  RecurrentResult result;
  result.last.state.resize(layers_.size());
  result.last.cell.resize(has_cell_ ? layers_.size() : 0);
  const size_t directions = bidirectional_ ? 2 : 1;
  Tensor rows = x.reshape({layout.batch, layout.length, x.size(1)});
  for (size_t first = 0; first < layers_.size(); first += directions) {
    if (first > 0 && dropout_ > 0) rows = compute.dropout(rows, dropout_);
    std::vector<Tensor> states;
    for (size_t at = first; at < first + directions; ++at) {
      Recurrence layer = layers_[at];
      layer.lengths = layout.lengths;
      if (!before.state.empty()) layer.state = before.state[at];
      if (!before.cell.empty()) layer.cell = before.cell[at];
      states.push_back(run(compute, rows, at, layer, result));
    }
    rows = bidirectional_ ? compute.concat(states, 2) : states.front();
  }
  result.rows = rows.reshape({layout.rows(), rows.size(2)});
  return result;
}

}  // namespace clearhead::nn
