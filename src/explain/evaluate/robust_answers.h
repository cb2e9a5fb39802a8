// The answers of a model to readings of texts, and measures of them. One interface for the three kinds of models.
#pragma once

#include <memory>
#include <vector>

#include "explain/evaluate/readings.h"
#include "explain/evaluate/robustness.h"

namespace clearhead::explain {

class RobustAnswers {
 public:
  virtual ~RobustAnswers() = default;
  /// Called first, with the unchanged texts. Stores their answers and returns their measures.
  virtual std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) = 0;
  /// Measures of the texts whose reading has tokens, compared with the same texts unchanged.
  virtual std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) = 0;
  /// An encoder-decoder's translation of the unchanged text, as decoder input: the maps of every reading are those of generating this
  /// translation.
  virtual std::vector<int32_t> target_of(size_t) const { return {}; }
};

std::unique_ptr<RobustAnswers> robust_answers(const Model& model, Answering kind, const RobustTexts& texts, const RobustOptions& options);

}  // namespace clearhead::explain
