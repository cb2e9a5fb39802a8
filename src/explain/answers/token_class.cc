// The class of one token of a text, such as its part of speech, read from that token.
#include "explain/text_target.h"

namespace clearhead::explain {
namespace {

class TokenClass final : public TextTarget {
 public:
  TokenClass(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::class_logits) {
    TargetSpec of_token = asked;
    const std::string label = split_label(of_token.target);
    const std::optional<int64_t> at = token_named(of_token, 0);
    if (!at)
      fail(ErrorCode::kInvalidArgument,
           "{}: for a token classifier, expected the token to explain and, optionally, one of its labels: \"token N\" or \"token N LABEL\"",
           model_->info().name);
    rows_ = {*at};
    answer_with_label(asked, label, "tag", first_logits());
    finish();
  }

 private:
  // Returns LABEL of "token N LABEL" and removes it from the target; empty if there is none.
  static std::string split_label(std::string& target) {
    const size_t space = target.find(' ', std::string_view("token ").size());
    if (!target.starts_with("token ") || space == std::string::npos) return {};
    const std::string label = target.substr(space + 1);
    target.resize(space);
    return label;
  }
};

Answers labels_of(const Model& model, const RunResult& result, int64_t token) {
  if (!result.class_logits.defined()) return {};
  return class_answers(model, result.class_logits.select(0, 0).slice(0, token, token + 1));
}

}  // namespace

const AnswerKind& token_class_answer() {
  static const AnswerKind kind = answers_of_text<TokenClass>({
      .name = "tag",
      .applies = [](const ModelInfo& info) { return reads_one_text(info) && classifies(info) && info.tags; },
      .of_each_token = true,
      .shown_at = labels_of,
  });
  return kind;
}

}  // namespace clearhead::explain
