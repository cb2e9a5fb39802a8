// What a model answers to readings of texts, and the measures of that: three kinds behind one interface.
#pragma once

#include <memory>
#include <vector>

#include "judge/readings.h"
#include "judge/robustness.h"

namespace clearhead::judge {

class RobustAnswers {
 public:
  virtual ~RobustAnswers() = default;
  /// Remembers what the texts as they are get; asked first. Returns its measures.
  virtual std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) = 0;
  /// Measures of the texts whose reading has tokens, against the same as they are.
  virtual std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) = 0;
  /// An encoder-decoder's translation of a text as it is, as its decoder reads it: the maps of every reading are those of writing it.
  virtual std::vector<int32_t> target_of(size_t) const { return {}; }
};

std::unique_ptr<RobustAnswers> robust_answers(const Model& model, Answering kind, const RobustTexts& texts, const RobustOptions& options);

}  // namespace clearhead::judge
