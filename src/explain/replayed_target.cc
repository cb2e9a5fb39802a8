// Replays the records of a trace to an observer: forward in the order of the calls, gradients from the last call to the first.
#include "explain/replayed_target.h"

#include <map>
#include <utility>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::explain {
namespace {

class ReplayedTarget final : public AttributionTarget {
 public:
  explicit ReplayedTarget(ReplayedRun run) : AttributionTarget(nullptr), run_(std::move(run)) {
    plan_ = run_.trace->plan();
    answer_ = run_.answer;
    probability_ = run_.probability;
    side_ = run_.side;
    rows_ = run_.rows;
    written_ = run_.written;
    if (run_.is_number) set_is_number();
    for (const Site& site : run_.sites) {
      const LayerMap map = run_.trace->map(site.family, site.layer);
      const AttentionRecord& record = map.frames().front().record;
      if (map.frames().size() != 1 || record.rows_kept() != record.query_length)
        fail(ErrorCode::kBudget, "{}: layer {} of \"{}\" does not keep the queries of every token; expected a larger budget", name(),
             site.layer, site.family);
    }
    begin_with(run_.removable);
  }

  std::vector<Site> sites() const override { return run_.sites; }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<std::vector<uint8_t>> ids;
    for (const std::vector<uint8_t>& set : removed) ids.push_back(removed_ids(set));
    return run_.answers(ids, how);
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    if (!interventions.empty()) fail(ErrorCode::kUnsupported, "{}: a recorded run cannot be repeated with interventions", name());
    if (observer) {
      observer->begin(plan_);
      for (const Site& site : run_.sites) {
        if (observer->wants(site)) observer->take(site, frame_of(site).record, norms_of(site));
      }
    }
    return {probability_, probability_};
  }

  Tensor mixed_vectors(int layer, int64_t row) const override { return run_.mixed_vectors(layer, row); }

  Tensor states_without_value(int layer, int64_t token) const override { return run_.states_without_value(layer, token); }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    if (!interventions.empty() || number != Number::kY)
      fail(ErrorCode::kUnsupported, "{}: a recorded run has the gradients of one number, without interventions", name());
    if (!observer) {
      tape.inputs = run_.inputs(tape.scale);
      return probability_;
    }
    for (auto site = run_.sites.rbegin(); site != run_.sites.rend(); ++site) {
      const Frame& frame = frame_of(*site);
      if (frame.gradient.d_out.defined() && observer->wants_gradient(*site)) observer->take_gradient(*site, frame.record, frame.gradient);
    }
    return probability_;
  }

 private:
  const Frame& frame_of(const Site& site) const {
    return frames_.try_emplace({site.family, site.layer}, run_.trace->map(site.family, site.layer).frames().front()).first->second;
  }
  // Norms of the call's own keys. If a family covers a part of the ids, the trace indexes them by all ids.
  KeyNorms norms_of(const Site& site) const {
    KeyNorms norms = run_.trace->norms(site.family, site.layer);
    const MapFamily& family = run_.trace->family(site.family);
    if (!family.is_part) return norms;
    for (Tensor* of : {&norms.value, &norms.output}) {
      if (of->defined()) *of = of->slice(2, family.first_key, family.first_key + family.keys).contiguous();
    }
    return norms;
  }

  ReplayedRun run_;
  mutable std::map<std::pair<std::string, int>, Frame> frames_{};
};

}  // namespace

std::unique_ptr<AttributionTarget> make_replayed_target(ReplayedRun run) { return std::make_unique<ReplayedTarget>(std::move(run)); }

}  // namespace clearhead::explain
