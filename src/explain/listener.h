// An observer that keeps no records. Classes that need only plans, sites, outputs or gradients override just those functions.
#pragma once

#include "clearhead/observer.h"

namespace clearhead::explain {

class Listener : public Observer {
 public:
  void begin(const RunPlan&) override {}
  bool wants(const Site&) override { return false; }
  void take(const Site&, const AttentionRecord&, const KeyNorms&) override {}
};

/// Keeps the plan of a run.
struct PlanListener final : Listener {
  RunPlan plan{};
  void begin(const RunPlan& of) override { plan = of; }
};

}  // namespace clearhead::explain
