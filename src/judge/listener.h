// An observer that keeps no records: what hears plans, sites, outputs or gradients overrides that alone.
#pragma once

#include "clearhead/observer.h"

namespace clearhead::judge {

class Listener : public Observer {
 public:
  void begin(const RunPlan&) override {}
  bool wants(const Site&) override { return false; }
  void take(const Site&, const AttentionRecord&, const KeyNorms&) override {}
};

}  // namespace clearhead::judge
