// A trace of a long text, assembled from runs over overlapping windows.
//
// Each window is a separate run, whose tokens see only each other. The row of every token comes from the one window that owns it.
// The keys of that row are the window's tokens, as indices of the text. Pairs with keys outside the window were never scored.
#include "base/format.h"
#include "observe/trace_state.h"

namespace clearhead {
namespace {

Frame owned_frame(const Frame& whole, const Trace::Window& window) {
  const Range rows = window.owned;
  AttentionRecord record = whole.record;
  const int64_t shift = whole.record.first_query;
  record.q = record.q.slice(2, rows.begin - shift, rows.end - shift);
  record.rows = record.rows.slice(rows.begin - shift, rows.end - shift);
  record.first_query = rows.begin;
  record.stamp = stamp_now(record.spec, record.q, record.keys, record.stamp.isa);
  const int64_t begin = window.tokens[static_cast<size_t>(rows.begin)];
  return {.queries = {begin, begin + rows.size()}, .record = record, .keys = window.tokens};
}

// Copies the norms of the keys that a window owns to the positions of these tokens in the text.
void place_norms(const Tensor& part, const Trace::Window& window, int64_t keys, Tensor& whole) {
  if (!part.defined()) return;
  const int64_t heads = part.size(1), known = part.size(2);
  if (!whole.defined()) whole = Tensor::zeros({1, heads, keys});
  const Tensor dense = part.contiguous();
  float* to = whole.mutable_data<float>();
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t j = window.owned.begin; j < window.owned.end; ++j) {
      to[h * keys + window.tokens[static_cast<size_t>(j)]] = dense.data<float>()[h * known + j];
    }
  }
}

}  // namespace

Trace Trace::from_windows(RunPlan whole, const std::vector<Window>& windows) {
  Trace out;
  State& state = *out.state_;
  state.plan = std::move(whole);
  for (const Window& window : windows) {
    for (auto& [key, layer] : window.trace->state_->layers) {
      join_steps(layer);
      if (layer.frames.size() != 1)
        fail(ErrorCode::kInvalidArgument, "trace: a window keeps only some of its rows; run it with a larger budget");
      LayerTrace& target = state.layers[key];
      if (target.module.empty()) target.module = layer.module;
      target.frames.push_back(owned_frame(layer.frames[0], window));
      const int64_t keys = state.family(key.first).keys;
      place_norms(layer.norms.value, window, keys, target.norms.value);
      place_norms(layer.norms.output, window, keys, target.norms.output);
    }
  }
  return out;
}

}  // namespace clearhead
