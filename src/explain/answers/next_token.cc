// The next tokens of a causal model, each read from the token before it. Robustness: how the bits per byte of a text change.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "explain/evaluate/robust_answers.h"
#include "explain/target_words.h"
#include "explain/text_target.h"

namespace clearhead::explain {
namespace {

class NextToken final : public TextTarget {
 public:
  NextToken(std::shared_ptr<const Model> with, TokenizedText text, const TargetSpec& asked)
      : TextTarget(std::move(with), std::move(text), &RunResult::causal_logits) {
    const std::optional<int64_t> at = token_named(asked, 1);
    if (at) {
      answer_ids_ = {text_.encoding.ids[static_cast<size_t>(*at)]};
      keep_first(text_.encoding, static_cast<size_t>(*at));
    }
    rows_ = {static_cast<int64_t>(text_.encoding.size()) - 1};
    settle(asked, first_logits());
    if (answer_ids_.size() > 1) read_span();
    sums_logits_ = asked.sums_logits && contrast_ < 0;
    if (asked.prompt_tokens) set_prompt(*asked.prompt_tokens);
    finish();
  }

 private:
  // Converts the words of the target specification to token ids.   first: logits [1, count]
  void settle(const TargetSpec& asked, const Tensor& first) {
    const float* logits = first.data<float>();
    const int64_t count = first.size(1);
    const auto one_token = [&](const std::string& word) {
      return single_token(*model_, word, spellings_of(*model_, word, text_.text), logits, kContrastNeedsOne);
    };
    if (!asked.target_ids.empty()) {
      answer_ids_ = asked.target_ids;
    } else if (!asked.target.empty() && !place_in(asked.target)) {
      if (asked.contrast.empty()) {
        answer_ids_ = most_probable(spellings_of(*model_, asked.target, text_.text), logits, count);
      } else {
        answer_ids_ = {one_token(asked.target)};
      }
    }
    if (answer_ids_.empty()) answer_ids_ = {largest(logits, count)};
    contrast_ = asked.contrast.empty() ? asked.contrast_id.value_or(-1) : one_token(asked.contrast);
    describe_tokens(answer_ids_.size() > 1 ? "next tokens" : "next token", count);
    if (answer_ids_.size() == 1) probability_ = probability_of(logits, count);
  }

  // The tokens after the prompt were generated. That includes those of a span, except its last one.
  void set_prompt(int64_t tokens) {
    if (tokens < 1 || tokens > row() + 1)
      fail(ErrorCode::kInvalidArgument, "{}: a prompt of {} tokens before an answer that follows {} tokens", model_->info().name, tokens,
           row() + 1);
    written_ = {tokens, rows_.back() + 1};
  }

  // The spelling with the most probable tokens, each given those before.
  std::vector<int32_t> most_probable(const Spellings& spelled_in, const float* logits, int64_t count) {
    std::vector<int32_t> best = spelled_in.ids.front();
    double highest = -std::numeric_limits<double>::infinity();
    for (size_t at = 0; at < spelled_in.ids.size() && spelled_in.ids.size() > 1; ++at) {
      answer_ids_ = spelled_in.ids[at];
      check_answer(count);
      const double found = answer_ids_.size() == 1 ? std::log(probability_of(logits, count)) : log_probability_of_span();
      const double rating = found + (at == 0 ? spelled_in.prior : 0);
      if (rating > highest) best = answer_ids_, highest = rating;
    }
    return best;
  }

  double log_probability_of_span() {
    const TokenizedText text = text_;
    read_span();
    const double found = run(nullptr, {}).y;
    text_ = text, rows_.resize(1);
    return found;
  }

  // Appends the tokens of a span to the text, except its last one, which is only predicted. Each is read from the token before it.
  void read_span() {
    for (size_t at = 0; at + 1 < answer_ids_.size(); ++at) {
      std::array<int64_t, 2> bytes{};
      if (text_.text) {
        bytes[0] = static_cast<int64_t>(text_.text->size());
        *text_.text += model_->tokenizer().token_bytes(answer_ids_[at]);
        bytes[1] = static_cast<int64_t>(text_.text->size());
      }
      text_.encoding.ids.push_back(answer_ids_[at]);
      text_.encoding.type_ids.push_back(0);
      text_.encoding.offsets.push_back(bytes);
      text_.encoding.segment.push_back(0);
      rows_.push_back(row() + static_cast<int64_t>(at) + 1);
    }
  }
};

// Bits per byte of the tokens that a change left alone, starting with the second.
class RobustBits final : public RobustAnswers {
 public:
  using RobustAnswers::RobustAnswers;

  std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) override {
    losses_ = ask(readings);
    MeasuredTexts bits(options_);
    for (size_t text = 0; text < readings.size(); ++text) {
      double nats = 0, bytes = 0;
      for (size_t token = 1; token < losses_[text].size(); ++token) nats += losses_[text][token], bytes += bytes_of(readings[text], token);
      if (bytes > 0) bits.add(nats / std::numbers::ln2 / bytes);
    }
    std::vector<MetricEstimate> out;
    bits.append_to(out, "bits_per_byte");
    return out;
  }
  std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) override {
    const auto found = ask(readings);
    MeasuredTexts bits(options_), change(options_);
    for (size_t text = 0; text < readings.size(); ++text) {
      double after = 0, before = 0, bytes = 0;
      for (size_t token = 1; token < found[text].size(); ++token) {
        const int64_t origin = readings[text].origin[token];
        if (origin < 1 || !readings[text].same[token]) continue;
        after += found[text][token];
        before += losses_[text][static_cast<size_t>(origin)];
        bytes += bytes_of(readings[text], token);
      }
      if (bytes == 0) continue;
      bits.add(after / std::numbers::ln2 / bytes);
      change.add((after - before) / std::numbers::ln2 / bytes);
    }
    std::vector<MetricEstimate> out;
    bits.append_to(out, "bits_per_byte");
    change.append_to(out, "bits_per_byte_change");
    return out;
  }

 private:
  static double bytes_of(const Reading& reading, size_t token) {
    return static_cast<double>(reading.encoding.offsets[token][1] - reading.encoding.offsets[token][0]);
  }
  // −ln p of every token, 0 for the first.
  std::vector<std::vector<double>> ask(const std::vector<Reading>& readings) const {
    std::vector<std::vector<double>> out(readings.size());
    const int64_t most = most_tokens_with_logits();
    for (const std::vector<size_t>& which : batches_of(readings, std::min(most, kRobustBatchTokens))) {
      const Reading& first = readings[which[0]];
      if (first.size() > most && first.shift == 0 && first.before == 0) {  // a single long text, which is read in pieces
        out[which[0]].push_back(0);
        for (const float value : log_probabilities(model_, first.encoding.ids)) out[which[0]].push_back(-static_cast<double>(value));
        continue;
      }
      const Batch batch = batch_of(model_, readings, which);
      std::vector<int32_t> targets(batch.ids.begin() + 1, batch.ids.end());
      targets.push_back(0);
      const std::vector<float> losses = losses_of(model_.run(batch).causal_logits, targets);
      for (size_t row = 0; row < which.size(); ++row) {
        const Reading& one = readings[which[row]];
        const size_t begin = row * static_cast<size_t>(batch.length) + static_cast<size_t>(one.before);
        out[which[row]].push_back(0);
        for (size_t token = 1; token < one.encoding.size(); ++token) out[which[row]].push_back(losses[begin + token - 1]);
      }
    }
    return out;
  }
  std::vector<std::vector<double>> losses_{};
};

}  // namespace

const AnswerKind& next_token_answer() {
  static const RobustKind robustness{
      .adds_special_tokens = false,
      .has_expected = false,
      .ignores_padding_before = true,
      .measures = {{"bits_per_byte", "bits per byte", 1, "", 3}, {"bits_per_byte_change", "change in bits per byte", 1, "", 3}},
      .answers = robust_answers<RobustBits>,
  };
  static const AnswerKind kind = answers_of_text<NextToken>({
      .name = "next",
      .applies = [](const ModelInfo& info) { return reads_one_text(info) && info.has_causal && !classifies(info); },
      .of_each_token = true,
      .shown =
          [](const Model& model, const RunResult& result, const auto&) {
            return token_answers(model, result.causal_logits.defined() ? result.causal_logits.select(1, 0) : Tensor());
          },
      .robustness = &robustness,
  });
  return kind;
}

}  // namespace clearhead::explain
