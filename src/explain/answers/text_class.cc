// The class of a text, read from its first token or its last token that is not padding. Robustness: how labels change.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "explain/evaluate/robust_answers.h"
#include "explain/text_target.h"
#include "ops/ops.h"

namespace clearhead::explain {
namespace {

class TextClass final : public TextTarget {
 public:
  TextClass(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::class_logits) {
    rows_ = {row_of_classifier()};
    stands_alone_ = model_->info().problem == ProblemType::kMultiLabel;
    answer_with_label(asked, asked.target, "class", first_logits());
    finish();
  }
};

// The most probable label, and the probability of the label that was predicted for the unchanged text.
class RobustLabels final : public RobustAnswers {
 public:
  RobustLabels(const Model& model, const RobustTexts& texts, const RobustOptions& options) : RobustAnswers(model, texts, options) {
    const std::vector<std::string>& labels = model.info().labels;
    for (size_t text = 0; text < texts.wanted.size(); ++text) {
      const auto found = std::find(labels.begin(), labels.end(), texts.wanted[text]);
      if (found == labels.end()) {
        std::string known;
        for (const std::string& label : labels) known += (known.empty() ? "" : ", ") + label;
        fail(ErrorCode::kInvalidArgument, "text {}: \"{}\" is not a label of this model; expected one of {}", text + 1, texts.wanted[text],
             known);
      }
      wanted_.push_back(static_cast<size_t>(found - labels.begin()));
    }
  }

  std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) override {
    clean_ = ask(readings);
    MeasuredTexts right(options_);
    for (size_t text = 0; text < wanted_.size(); ++text) {
      if (!clean_[text].empty()) right.add(best(clean_[text]) == wanted_[text]);
    }
    std::vector<MetricEstimate> out;
    right.append_to(out, "accuracy");
    return out;
  }
  std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) override {
    const auto found = ask(readings);
    MeasuredTexts stays(options_), right(options_), lost(options_), moved(options_);
    for (size_t text = 0; text < found.size(); ++text) {
      if (found[text].empty() || clean_[text].empty()) continue;
      const size_t before = best(clean_[text]), after = best(found[text]);
      stays.add(before == after);
      moved.add(found[text][before] - clean_[text][before]);
      if (wanted_.empty()) continue;
      right.add(after == wanted_[text]);
      lost.add((after == wanted_[text] ? 1.0 : 0.0) - (before == wanted_[text] ? 1.0 : 0.0));
    }
    std::vector<MetricEstimate> out;
    stays.append_to(out, "stays");
    right.append_to(out, "accuracy");
    lost.append_to(out, "accuracy_change");
    moved.append_to(out, "probability_change");
    return out;
  }

 private:
  static size_t best(const std::vector<double>& of) { return static_cast<size_t>(std::max_element(of.begin(), of.end()) - of.begin()); }
  // The probabilities of each label; empty for a reading without tokens.
  std::vector<std::vector<double>> ask(const std::vector<Reading>& readings) const {
    std::vector<std::vector<double>> out(readings.size());
    for (const std::vector<size_t>& which : batches_of(readings, kRobustBatchTokens)) {
      const Tensor logits = model_.run(batch_of(model_, readings, which)).class_logits.contiguous();
      const int64_t count = logits.size(1);
      for (size_t row = 0; row < which.size(); ++row) {
        const float* of_row = logits.data<float>() + static_cast<int64_t>(row) * count;
        const double whole = ops::log_sum_exp(of_row, count);
        for (int64_t label = 0; label < count; ++label) out[which[row]].push_back(std::exp(static_cast<double>(of_row[label]) - whole));
      }
    }
    return out;
  }
  std::vector<size_t> wanted_{};
  std::vector<std::vector<double>> clean_{};
};

}  // namespace

const AnswerKind& text_class_answer() {
  static const RobustKind robustness{
      .applies = [](const ModelInfo& info) { return info.problem == ProblemType::kSingleLabel && info.labels.size() > 1; },
      .measures = {kUnchangedAnswers,
                   {"accuracy", "accuracy", 100, " %"},
                   {"accuracy_change", "change in accuracy", 100, " %"},
                   kProbabilityChange},
      .answers = robust_answers<RobustLabels>,
  };
  static const AnswerKind kind = answers_of_text<TextClass>({
      .name = "class",
      .applies =
          [](const ModelInfo& info) {
            return reads_one_text(info) && classifies(info) && !info.tags && info.problem != ProblemType::kRegression;
          },
      .shown = [](const Model& model, const RunResult& result, const auto&) { return class_answers(model, result.class_logits); },
      .robustness = &robustness,
  });
  return kind;
}

}  // namespace clearhead::explain
