// Compares attribution methods: on the same texts, with the same removals and the same model, how well does each reflect what the answer
// depends on? Baselines are a random ranking and the reverse of the first method.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "explain/attribution.h"
#include "metrics/bootstrap.h"

namespace clearhead::explain {

enum class Measure : uint8_t {
  kComprehensiveness,  ///< AOPC over 1, 5, 10, 20 and 50 %; higher: the answer needs the highest items
  kSufficiency,        ///< AOPC; lower: the highest items are enough
  kDeletion,           ///< area under the answer as items are removed, highest first; lower is better
  kInsertion,          ///< area under the answer as items are put back, highest first; higher is better
  kLeaveOneOut,        ///< Kendall's tau with the change that removing each item alone makes
  kInfidelity,         ///< with the best-fitting scale; lower is better
  kSensitivity,        ///< sensitivity-n for sets of a quarter of the items
  kAuprc,              ///< against the marks; NaN without marks
  kTokenF1,            ///< against the marks
  kGini,               ///< concentration: 0 spread evenly, 1 all on one item
  kEffective,          ///< exp(entropy): effective number of items
};
struct MeasureInfo {
  Measure measure{};
  const char* name = "";
  bool removes = true;  ///< whether it runs the model with items removed
};
const std::vector<MeasureInfo>& measures();  ///< in the order of the enum

struct VerdictOptions {
  std::vector<Method> methods{};
  RemovedBy removal = RemovedBy::kUnseen;
  AttributionOptions attribution{};
  int64_t random_rankings = 5;  ///< the random baseline is the mean over this many rankings
  int64_t sets = 40;            ///< number of random sets of items, for infidelity and sensitivity
  uint64_t seed = 1;
};

/// The results of all texts so far.
class Verdict {
 public:
  explicit Verdict(VerdictOptions options);
  /// Evaluates the methods on one more target. marks: for each item of the target, 1 if people marked it as evidence (plausibility.h);
  /// or empty. Returns false for a target of fewer
  /// than 3 items, which is skipped as uninformative. Throws what attribute() throws.
  bool add(const AttributionTarget& target, const std::vector<uint8_t>& marks = {});

  const std::vector<std::string>& names() const { return names_; }  ///< the methods, "random", "reverse of …"
  int64_t texts() const { return texts_; }
  /// One number per text; NaN if a measure is not defined for it.
  const std::vector<double>& values(size_t method, Measure measure) const { return values_[method][static_cast<size_t>(measure)]; }
  /// The mean over the texts for which it is defined; NaN if there are none.
  metrics::Interval mean(size_t method, Measure measure) const;
  /// The measure (comprehensiveness or sufficiency) minus that of random rankings, with 95 % intervals by bootstrap over texts.
  metrics::Interval against_random(size_t method, Measure measure) const;

 private:
  VerdictOptions options_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::vector<double>>> values_;  // [method][measure][text]
  int64_t texts_ = 0;
};

}  // namespace clearhead::explain
