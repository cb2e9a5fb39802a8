// The answers of a model to readings of texts, and measures of how they change. Each kind of answer (explain/answer_kind.h) whose
// robustness is measured derives a class in its own file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clearhead/observer.h"
#include "explain/evaluate/readings.h"
#include "explain/evaluate/robustness.h"

namespace clearhead::explain {

/// Largest number of tokens of a batch.
inline constexpr int64_t kRobustBatchTokens = 2048;

class RobustAnswers {
 public:
  RobustAnswers(const Model& model, const RobustTexts& texts, const RobustOptions& options)
      : model_(model), texts_(texts), options_(options) {}
  virtual ~RobustAnswers() = default;

  /// Called first, with the unchanged texts. Stores their answers and returns their measures.
  virtual std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) = 0;
  /// Measures of the texts whose reading has tokens, compared with the same texts unchanged.
  virtual std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) = 0;

  /// Runs the model on the reading of one text; the observer receives its maps.
  virtual void run_observed(const std::vector<Reading>& readings, size_t text, Observer& observer) const;
  /// True for a sequence of queries or keys (explain/sides.h) that the model generates. False for a sequence of tokens that it reads.
  virtual bool is_generated(const std::string& /*side*/) const { return false; }

 protected:
  /// Maximum number of tokens of a run that computes logits for every token, so that the logits take at most 64 MiB; at least 64 tokens.
  int64_t most_tokens_with_logits() const;

  const Model& model_;
  const RobustTexts& texts_;
  const RobustOptions& options_;
};

/// Measures that several kinds have.
inline constexpr MeasureForm kUnchangedAnswers{"stays", "unchanged answers", 100, " %"};
inline constexpr MeasureForm kProbabilityChange{"probability_change", "change in p", 1, "", 3};

/// RobustKind::answers of a class that is derived from RobustAnswers.
template <class Derived>
std::unique_ptr<RobustAnswers> robust_answers(const Model& model, const RobustTexts& texts, const RobustOptions& options) {
  return std::make_unique<Derived>(model, texts, options);
}

/// The values of one measure for several texts, and their mean.
class MeasuredTexts {
 public:
  explicit MeasuredTexts(const RobustOptions& options) : options_(options) {}
  void add(double value) { values_.push_back(value); }
  /// Appends the mean with its interval. Without values, the measure is left out.
  void append_to(std::vector<MetricEstimate>& out, const std::string& name) const;

 private:
  const RobustOptions& options_;
  std::vector<double> values_{};
};

/// −ln p of each token of the targets [batch · length] under these logits [batch, length, vocabulary].
std::vector<float> losses_of(const Tensor& logits, const std::vector<int32_t>& targets);

}  // namespace clearhead::explain
