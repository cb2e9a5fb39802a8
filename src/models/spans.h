// Extractive question answering: splits a question and a text into windows, and finds the best span of each window by its logits.
//
//   [CLS] question [SEP] text [SEP]     score(i, j) = start_i + end_j     i ≤ j < i + longest, both in the text
//                                       null score  = start_0 + end_0     "no answer": a span of the first token
//
// Sources: Devlin et al. 2019, sections 4.2 and 4.3; windows as in their run_squad.py, where "doc_stride" is the number
// of text tokens in a window − overlap.
#pragma once

#include <string_view>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// Returns at least one window. All windows share the question and the special tokens, and differ in the tokens of the text.
/// Offsets refer to the question and to the whole text. Throws as answer().
std::vector<Encoding> answer_windows(const Tokenizer& tokenizer, std::string_view question, std::string_view text,
                                     const AnswerSettings& settings);

struct WindowAnswer {
  double score = 0, null_score = 0;  // score: −∞ if the window contains no token of the text
  int64_t begin = 0, end = 0;        // bytes of the text
  double probability = 0, null_probability = 0;
};
/// Returns the span of a window with the largest score; the first of equal ones.   logits: [token, 2], start and end
WindowAnswer best_span(const Encoding& window, const float* logits, int64_t longest);
/// Combines the answers of a text's windows: the best score and the smallest null score.
TextAnswer together(const std::vector<WindowAnswer>& windows, double threshold);

}  // namespace clearhead
