// The word at a mask, read from the mask.
#include <algorithm>

#include "clearhead/tokenizer.h"
#include "explain/target_words.h"
#include "explain/text_target.h"

namespace clearhead::explain {
namespace {

class MaskedWord final : public TextTarget {
 public:
  MaskedWord(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::masked_logits) {
    const std::optional<int64_t> at = token_named(asked, 0);
    rows_ = {mask_asked_for(at)};
    const Tensor logits = first_logits();
    const auto one_token = [&](const std::string& word, const char* why) {
      return single_token(*model_, word, spellings_of(*model_, word, std::nullopt), logits.data<float>(), why);
    };
    answer_ids_ = asked.target_ids;
    if (answer_ids_.empty() && !asked.target.empty() && !at) answer_ids_ = {one_token(asked.target, "one mask stands for one token")};
    if (answer_ids_.empty()) answer_ids_ = {largest(logits.data<float>(), logits.size(1))};
    (void)answer_id("an explanation of a masked language model");
    contrast_ = asked.contrast.empty() ? asked.contrast_id.value_or(-1) : one_token(asked.contrast, kContrastNeedsOne);
    describe_tokens("word at the mask", logits.size(1));
    probability_ = probability_of(logits.data<float>(), logits.size(1));
    finish();
  }

 private:
  // The position of the only mask, or of the one that "token N" names.
  int64_t mask_asked_for(std::optional<int64_t> at) const {
    const std::string& name = model_->info().name;
    const std::optional<int32_t> mask = model_->tokenizer().special_tokens().mask;
    std::vector<int64_t> places;
    for (size_t id = 0; mask && id < text_.encoding.ids.size(); ++id) {
      if (text_.encoding.ids[id] == *mask) places.push_back(static_cast<int64_t>(id));
    }
    const std::string token = mask ? std::string(model_->tokenizer().token(*mask)) : "a mask token";
    if (places.empty())
      fail(ErrorCode::kInvalidArgument,
           "{}: for a masked language model, the word at a mask is explained, but the text has no mask; "
           "write {} where a word is missing",
           name, token);
    if (at && std::find(places.begin(), places.end(), *at) == places.end())
      fail(ErrorCode::kInvalidArgument, "{}: token {} is not {}; expected the position of a mask", name, *at, token);
    if (at || places.size() == 1) return at.value_or(places.front());
    std::string list;
    for (const int64_t place : places) list += format("{}{}", list.empty() ? "" : ", ", place);
    fail(ErrorCode::kInvalidArgument, "{}: the text has {} masks, tokens {}; expected one, or \"token {}\" as the token to explain", name,
         places.size(), list, places.front());
  }
};

}  // namespace

const AnswerKind& masked_word_answer() {
  static const AnswerKind kind = answers_of_text<MaskedWord>({
      .name = "masked",
      .applies = [](const ModelInfo& info) { return reads_one_text(info) && info.has_masked && !info.has_causal && !classifies(info); },
      .shown = [](const Model& model, const RunResult& result, const auto&) { return token_answers(model, result.masked_logits); },
  });
  return kind;
}

}  // namespace clearhead::explain
