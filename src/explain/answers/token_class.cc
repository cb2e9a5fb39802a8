// The class of one token of a text, such as its part of speech, read from that token.
#include "explain/text_target.h"

namespace clearhead::explain {
namespace {

class TokenClass final : public TextTarget {
 public:
  TokenClass(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::class_logits) {
    const std::optional<int64_t> at = token_named(asked, 0);
    if (!at)
      fail(ErrorCode::kInvalidArgument, "{}: for a token classifier, expected the token to explain: \"token N\"", model_->info().name);
    rows_ = {*at};
    answer_with_label(asked, {}, "tag", first_logits());
    finish();
  }
};

}  // namespace

const AnswerKind& token_class_answer() {
  static const AnswerKind kind = answers_of_text<TokenClass>({
      .name = "tag",
      .applies = [](const ModelInfo& info) { return reads_one_text(info) && classifies(info) && info.tags; },
      .of_each_token = true,
  });
  return kind;
}

}  // namespace clearhead::explain
