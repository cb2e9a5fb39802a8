// A decoding network attends to its source step by step, and afterwards reports all steps as one call (Site::reported). Its gradients also
// come step by step; this observer joins them into the gradient of the reported call.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "clearhead/observer.h"

namespace clearhead::explain {

/// Forwards everything to an observer. After the backward pass, finish() passes it the joined gradients of calls that came in steps.
class JoinedSteps final : public Observer {
 public:
  explicit JoinedSteps(Observer* inner) : inner_(inner) {}
  void begin(const RunPlan& plan) override { inner_->begin(plan); }
  bool wants(const Site& site) override { return inner_->wants(site) || inner_->wants_gradient(site); }
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override {
    if (inner_->wants(site)) inner_->take(site, record, norms);
    if (inner_->wants_gradient(site)) calls_[{site.family, site.layer}].reported.emplace(site, record.pin());
  }
  bool wants_output(const Site& site) override { return inner_->wants_output(site); }
  void take_output(const Site& site, const Tensor& out) override { inner_->take_output(site, out); }
  bool wants_gradient(const Site& site) override {
    Site whole = site;
    whole.reported = true;
    if (!site.reported) whole.step = 0;
    return inner_->wants_gradient(whole);
  }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    if (site.reported) return inner_->take_gradient(site, record, gradient);
    calls_[{site.family, site.layer}].steps.insert_or_assign(site.step, OutputGradient{gradient.d_out.clone(), gradient.values});
  }
  void finish() {
    for (auto& [_, call] : calls_) {
      if (!call.reported || call.steps.empty()) continue;
      const auto& [site, record] = *call.reported;
      const Tensor& one = call.steps.begin()->second.d_out;  // [1, head, 1, d_v]
      const int64_t heads = one.size(1), width = one.size(3), rows = record.rows_kept();
      Tensor d_out = Tensor::zeros({1, heads, rows, width});
      for (const auto& [step, gradient] : call.steps) {
        for (int64_t head = 0; head < heads && step < rows; ++head)
          std::copy_n(gradient.d_out.data<float>() + head * width, width, d_out.mutable_data<float>() + (head * rows + step) * width);
      }
      inner_->take_gradient(site, record, {d_out, call.steps.begin()->second.values});
    }
  }

 private:
  struct Call {
    std::optional<std::pair<Site, AttentionRecord>> reported{};
    std::map<int64_t, OutputGradient> steps{};
  };
  Observer* inner_;
  std::map<std::pair<std::string, int>, Call> calls_{};
};

}  // namespace clearhead::explain
