// Methods of attribution side by side: on the same texts, with the same removals of the same model, how far does each say what the answer
// needed? A random ranking and the reverse of the first method stand beside them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "judge/attribution.h"
#include "metrics/bootstrap.h"

namespace clearhead::judge {

enum class Measure : uint8_t {
  kComprehensiveness,  ///< AOPC over 1, 5, 10, 20 and 50 %; higher: its first items are needed
  kSufficiency,        ///< AOPC; lower: its first items are enough
  kDeletion,           ///< area under the answer as items go, first ones first; lower is better
  kInsertion,          ///< area as they come back; higher is better
  kLeaveOneOut,        ///< Kendall's tau with what each item alone takes from the answer
  kInfidelity,         ///< with the scale that fits best; lower is better
  kSensitivity,        ///< sensitivity-n for sets of a quarter of the items
  kAuprc,              ///< against marks; NaN without
  kTokenF1,            ///< against marks
  kGini,               ///< how clear: 0 spread evenly, 1 all on one item
  kEffective,          ///< exp(entropy): how many items share it
};
struct MeasureInfo {
  Measure measure{};
  const char* name = "";
  bool removes = true;  ///< asks the model with items removed
};
const std::vector<MeasureInfo>& measures();  ///< in the order of the enum

struct VerdictOptions {
  std::vector<MethodInfo> methods{};
  RemovedBy removal = RemovedBy::kUnseen;
  AttributionOptions attribution{};
  int64_t random_rankings = 5;  ///< whose mean is the random method
  int64_t sets = 40;            ///< random sets of items for infidelity and sensitivity
  uint64_t seed = 1;
};

/// What texts gave, one after another.
class Verdict {
 public:
  explicit Verdict(VerdictOptions options);
  /// Judges the methods on one more question. marks: a flag an item of the subject, or empty. False for one of fewer than 3 items,
  /// which says nothing. Throws what attribute() does.
  bool add(const Subject& subject, const std::vector<uint8_t>& marks = {});

  const std::vector<std::string>& names() const { return names_; }  ///< the methods, "random", "reverse of …"
  int64_t texts() const { return texts_; }
  /// One number a text; NaN where a measure is not defined there.
  const std::vector<double>& values(size_t method, Measure measure) const { return values_[method][static_cast<size_t>(measure)]; }
  /// Of the texts where it is defined; NaN for none.
  metrics::Interval mean(size_t method, Measure measure) const;
  /// Comprehensiveness minus that of random rankings, and sufficiency, with 95 % intervals by bootstrap over texts.
  metrics::Interval against_random(size_t method, Measure measure) const;

 private:
  VerdictOptions options_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::vector<double>>> values_;  // [method][measure][text]
  int64_t texts_ = 0;
};

}  // namespace clearhead::judge
