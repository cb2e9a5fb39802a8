// The number that a regression model gives a text or a pair of texts, such as their similarity. With several outputs, the target is the name
// of one; the default is the first.
#include "base/format.h"
#include "explain/answer_kind.h"
#include "explain/text_target.h"

namespace clearhead::explain {
namespace {

class TextNumber final : public TextTarget {
 public:
  TextNumber(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::class_logits) {
    rows_ = {row_of_classifier()};
    const ModelInfo& info = model_->info();
    const int32_t output = asked.target.empty() ? 0 : label_named(info, asked.target);
    const std::string name = info.labels.size() > 1 ? format("output \"{}\"", info.labels[static_cast<size_t>(output)]) : "output";
    answer_with_number(asked, output, name, first_logits());
    finish();
  }
};

}  // namespace

const AnswerKind& text_number_answer() {
  static const AnswerKind kind = answers_of_text<TextNumber>({
      .name = "number",
      .applies =
          [](const ModelInfo& info) {
            return reads_one_text(info) && classifies(info) && !info.tags && info.problem == ProblemType::kRegression;
          },
  });
  return kind;
}

}  // namespace clearhead::explain
