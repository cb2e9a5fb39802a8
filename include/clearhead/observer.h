// Room: ops.
// What a run reports to. A run without an observer pays nothing.
#pragma once

#include <string>

#include "clearhead/record.h"

namespace clearhead {

/// Where in a model a call of attention stands. Families name maps: "enc", "dec", "cross".
struct Site {
  std::string family{};
  int layer = 0;
  int64_t step = 0;  ///< 0 for the prefill, then one per generated token
};

/// How long the values behind the keys are; undefined when the observer did not ask.
struct KeyNorms {
  Tensor value{};   ///< f32 [batch, key_head, key]  ‖v_j‖
  Tensor output{};  ///< f32 [batch, head, key]      ‖v_j·W_O^h‖ (Kobayashi et al. 2020, eq. 5)
};

class Observer {
 public:
  virtual ~Observer() = default;
  /// Asked before a layer runs: is anything of it wanted? A layer that is not wanted keeps no record and computes no norms.
  virtual bool wants(const Site& site) = 0;
  /// Called after the layer's attention, on the thread that runs the model. The record shares the layer's tensors: keep it, or look and let go.
  /// norms cover the keys of this step's new positions only (all, in the prefill).
  virtual void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) = 0;
};

}  // namespace clearhead
