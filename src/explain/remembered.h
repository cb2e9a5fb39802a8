// Caches a model's answers to sets of removed items, one run per set: many rankings of a short text remove the same sets.
#pragma once

#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "explain/attribution_target.h"
#include "explain/evaluate/faithfulness.h"

namespace clearhead::explain {

/// Can be used as Answers (faithfulness.h) while the target is alive.
class Remembered {
 public:
  Remembered(const AttributionTarget& target, RemovedBy how) : target_(target), how_(how) {}
  std::vector<double> operator()(const std::vector<Removal>& removed) {
    const auto name = [](const Removal& one) { return std::string(one.begin(), one.end()); };
    std::vector<Removal> unknown;
    for (const Removal& one : removed) {
      if (known_.emplace(name(one), std::numeric_limits<double>::quiet_NaN()).second) unknown.push_back(one);
    }
    if (!unknown.empty()) {
      const std::vector<double> found = target_.answers(unknown, how_);
      for (size_t i = 0; i < unknown.size(); ++i) known_[name(unknown[i])] = found[i];
    }
    std::vector<double> out;
    for (const Removal& one : removed) out.push_back(known_.at(name(one)));
    return out;
  }

 private:
  const AttributionTarget& target_;
  RemovedBy how_;
  std::unordered_map<std::string, double> known_{};  // keyed by the removal's flags
};

}  // namespace clearhead::explain
