// Windows slide over the tokens of the text. best_span() tries every start with every end within the maximum length.
#include "models/spans.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

void append(const Encoding& from, size_t token, Encoding& to) {
  to.ids.push_back(from.ids[token]);
  to.type_ids.push_back(from.type_ids[token]);
  to.offsets.push_back(from.offsets[token]);
  to.segment.push_back(from.segment[token]);
}

constexpr uint8_t kQuestion = 0, kText = 1;

// ln Σ_t e^(x_t) of one of the two columns.
double log_sum_exp(const float* column, size_t count) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (size_t t = 0; t < count; ++t) most = std::max(most, static_cast<double>(column[2 * t]));
  for (size_t t = 0; t < count; ++t) sum += std::exp(static_cast<double>(column[2 * t]) - most);
  return most + std::log(sum);
}

}  // namespace

std::vector<Encoding> answer_windows(const Tokenizer& tokenizer, std::string_view question, std::string_view text,
                                     const AnswerSettings& settings) {
  const Encoding all = tokenizer.encode(question, {.pair = text});
  if (all.size() == 0 || !all.is_special(0))
    fail(ErrorCode::kUnsupported,
         "the tokenizer puts no special token before a question, where \"no answer\" would stand; expected one such as [CLS]");
  const auto count_of = [&](uint8_t segment) { return std::count(all.segment.begin(), all.segment.end(), segment); };
  const int64_t of_text = count_of(kText), of_question = std::min<int64_t>(count_of(kQuestion), settings.window / 2);
  const int64_t room = settings.window - of_question - count_of(Encoding::kSpecial);
  if (room <= settings.overlap) {
    fail(ErrorCode::kInvalidArgument,
         "a window of {} tokens leaves {} tokens for the text besides the question; expected more than the overlap of {}", settings.window,
         room, settings.overlap);
  }
  std::vector<Encoding> out;
  for (int64_t begin = 0; begin == 0 || begin + settings.overlap < of_text; begin += room - settings.overlap) {
    int64_t question_tokens = 0, text_tokens = 0;
    Encoding window;
    for (size_t token = 0; token < all.size(); ++token) {
      if (all.segment[token] == kQuestion && question_tokens++ >= of_question) continue;
      if (all.segment[token] == kText) {
        const int64_t at = text_tokens++;
        if (at < begin || at >= begin + room) continue;
      }
      append(all, token, window);
    }
    out.push_back(std::move(window));
  }
  return out;
}

WindowAnswer best_span(const Encoding& window, const float* logits, int64_t longest) {
  const size_t count = window.size();
  const auto logit = [&](size_t token, size_t column) { return static_cast<double>(logits[2 * token + column]); };
  const double whole = log_sum_exp(logits, count) + log_sum_exp(logits + 1, count);
  WindowAnswer out;
  out.score = -std::numeric_limits<double>::infinity();
  for (size_t first = 0; first < count; ++first) {
    for (size_t last = first; last < std::min(count, first + static_cast<size_t>(longest)); ++last) {
      if (window.segment[first] != kText || window.segment[last] != kText || logit(first, 0) + logit(last, 1) <= out.score) continue;
      out.score = logit(first, 0) + logit(last, 1);
      out.begin = window.offsets[first][0];
      out.end = window.offsets[last][1];
    }
  }
  out.null_score = logit(0, 0) + logit(0, 1);
  out.probability = std::exp(out.score - whole);
  out.null_probability = std::exp(out.null_score - whole);
  return out;
}

TextAnswer together(const std::vector<WindowAnswer>& windows, double threshold) {
  const auto best = std::max_element(windows.begin(), windows.end(), [](const auto& a, const auto& b) { return a.score < b.score; });
  const auto null =
      std::min_element(windows.begin(), windows.end(), [](const auto& a, const auto& b) { return a.null_score < b.null_score; });
  return {.found = null->null_score - best->score <= threshold,
          .begin = best->begin,
          .end = best->end,
          .score = best->score,
          .null_score = null->null_score,
          .probability = static_cast<float>(best->probability),
          .null_probability = static_cast<float>(null->null_probability)};
}

}  // namespace clearhead
