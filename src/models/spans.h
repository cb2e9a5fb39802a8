// An answer as a span of a text: question and text in windows, and the best span by the logits of a window.
//
//   [CLS] question [SEP] text [SEP]     score(i, j) = start_i + end_j     i ≤ j < i + longest, both tokens of the text
//                                       null score  = start_0 + end_0     "there is no answer" stands at the first token
//
// Sources: Devlin et al. 2019, sections 4.2 and 4.3; windows as in their run_squad.py, where "doc_stride" is window − overlap.
#pragma once

#include <string_view>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// Question and text in windows, all of whose tokens but the text's are the same; at least one. Offsets are those of the question and of the whole text.
/// Throws as answer().
std::vector<Encoding> answer_windows(const Tokenizer& tokenizer, std::string_view question, std::string_view text,
                                     const AnswerSettings& settings);

struct WindowAnswer {
  double score = 0, null_score = 0;  // score: −∞ where the window holds no token of the text
  int64_t begin = 0, end = 0;        // bytes of the text
  double probability = 0, null_probability = 0;
};
/// The best span of a window; of equal ones the first.   logits: [token, 2], start and end
WindowAnswer best_span(const Encoding& window, const float* logits, int64_t longest);
/// The best answer of a text's windows, and the least null score.
TextAnswer together(const std::vector<WindowAnswer>& windows, double threshold);

}  // namespace clearhead
