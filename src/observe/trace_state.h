// The contents of a trace, shared by trace.cc (policy), trace_file.cc (bytes) and trace_windows.cc (windows).
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
  // Rows of generated steps that are not yet joined to the last frame. They are joined when the layer is first read, so n
  // steps cost O(n).
  std::vector<AttentionRecord> steps{};
  std::vector<KeyNorms> step_norms{};
  std::string module{};  // path of the module that computed the layer; empty: unknown
};

using LayerKey = std::pair<std::string, int>;  // family, layer

struct Trace::State {
  TraceOptions options{};
  RunPlan plan{};
  bool all_rows = true;
  std::vector<GeneratedToken> generated{};
  mutable std::map<LayerKey, LayerTrace> layers{};

  const MapFamily& family(const std::string& name) const;
  LayerTrace& layer(const std::string& family, int layer) const;  // throws kNotFound, saying how to keep the layer
};

/// Joins the pending steps of a causal layer to its last frame: one record over the final keys, with the same
/// scores and weights.
void join_steps(LayerTrace& layer);

/// Concatenates tensors along `axis`. A single part is returned as it is; undefined parts give an undefined result.
Tensor concatenate(const std::vector<Tensor>& parts, int axis);

/// Keys as one tensor [batch, key_head, key, d_k] in their dtype, of one key head or of all; pages are copied.
Tensor gather_keys(const Keys& keys, std::optional<int64_t> key_head = std::nullopt);

}  // namespace clearhead
