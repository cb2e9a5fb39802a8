// Reports the progress of a run, and lets the caller cancel it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/observer.h"

namespace clearhead {

/// Called when a layer starts, with the fraction of the work that is done and a text such as "layer 3 of 12".
using RunProgress = std::function<void(double fraction, const std::string& layer)>;

/// Forwards every call to `inner`, if it is not null, reports each layer that starts, and throws kCancelled once `cancel` is set.
class ProgressObserver final : public Observer {
 public:
  /// run, runs: the index of this run and the number of runs, all of equal size, that make up the work (windows over a text)
  ProgressObserver(Observer* inner, RunProgress report, const std::atomic<bool>* cancel, int64_t run = 0, int64_t runs = 1)
      : inner_(inner), report_(std::move(report)), cancel_(cancel), run_(run), runs_(runs) {}

  void begin(const RunPlan& plan) override {
    layers_ = done_ = 0;
    for (const MapFamily& family : plan.families) layers_ += family.layers;
    if (inner_) inner_->begin(plan);
  }
  bool wants(const Site& site) override {
    if (cancel_ && cancel_->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "the run was cancelled");
    const double within = static_cast<double>(done_++) / static_cast<double>(std::max<int64_t>(1, layers_));
    if (report_) report_((static_cast<double>(run_) + within) / static_cast<double>(runs_), format("layer {} of {}", done_, layers_));
    return inner_ && inner_->wants(site);
  }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override { inner_->take(site, record, norms); }
  void generated(const GeneratedToken& token) override {
    if (inner_) inner_->generated(token);
  }
  bool wants_output(const Site& site) override { return inner_ && inner_->wants_output(site); }
  void take_output(const Site& site, const Tensor& out) override { inner_->take_output(site, out); }
  bool wants_gradient(const Site& site) override { return inner_ && inner_->wants_gradient(site); }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    inner_->take_gradient(site, record, gradient);
  }

 private:
  Observer* inner_;
  RunProgress report_;
  const std::atomic<bool>* cancel_;
  int64_t run_, runs_, layers_ = 0, done_ = 0;
};

}  // namespace clearhead
