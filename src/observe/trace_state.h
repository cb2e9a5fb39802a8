// What a trace holds: shared by trace.cc (policy), trace_file.cc (bytes) and trace_windows.cc (windows).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/trace.h"

namespace clearhead {

struct LayerTrace {
  std::vector<Frame> frames{};
  KeyNorms norms{};
  std::optional<ReductionResult> statistics{};
  // Rows of generated steps not yet joined to the last frame: joining waits until somebody looks, so that n steps cost O(n).
  std::vector<AttentionRecord> steps{};
  std::vector<KeyNorms> step_norms{};
};

using LayerKey = std::pair<std::string, int>;  // family, layer

struct Trace::State {
  TraceOptions options{};
  RunPlan plan{};
  bool all_rows = true;
  std::vector<GeneratedToken> generated{};
  mutable std::map<LayerKey, LayerTrace> layers{};

  const MapFamily& family(const std::string& name) const;
  LayerTrace& layer(const std::string& family, int layer) const;  // throws kNotFound saying what would keep it
};

/// Adds the pending steps of a causal layer to its last frame: one record over the final keys, same scores, same weights.
void join_steps(LayerTrace& layer);

/// Tensors side by side along `axis`; a lone part is returned as it is, undefined parts give an undefined whole.
Tensor concatenate(const std::vector<Tensor>& parts, int axis);

/// Keys as one tensor [batch, key_head, key, d_k] of their dtype, or those of one key head: pages are gathered.
Tensor gather_keys(const Keys& keys, std::optional<int64_t> key_head = std::nullopt);

}  // namespace clearhead
