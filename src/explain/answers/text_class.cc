// The class of a text, read from its first token, its last token that is not padding, or all tokens.
#include "explain/text_target.h"

namespace clearhead::explain {
namespace {

class TextClass final : public TextTarget {
 public:
  TextClass(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::class_logits) {
    rows_ = {model_->info().reads_last ? last_token_read() : 0};
    stands_alone_ = model_->info().problem == ProblemType::kMultiLabel;
    answer_with_label(asked, asked.target, "class", first_logits());
    finish();
  }

 private:
  // The last token that is not padding, whose row a causal classifier reads; 0 if all are padding.
  int64_t last_token_read() const {
    const std::optional<int64_t> padding = model_->info().padding;
    size_t row = text_.encoding.ids.size() - 1;
    while (row > 0 && padding && text_.encoding.ids[row] == *padding) --row;
    return static_cast<int64_t>(row);
  }
};

}  // namespace

const AnswerKind& text_class_answer() {
  static const AnswerKind kind = answers_of_text<TextClass>({
      .name = "class",
      .applies =
          [](const ModelInfo& info) {
            return reads_one_text(info) && classifies(info) && !info.tags && info.problem != ProblemType::kRegression;
          },
      .shown = [](const Model& model, const RunResult& result, const auto&) { return class_answers(model, result.class_logits); },
  });
  return kind;
}

}  // namespace clearhead::explain
