// Summaries of one sentence, chosen from the document by a network whose answer is its attention.
//
//   JSON lines: "text" names the field with the document's sentences, "label" that with its summaries, one or more
//   R_i      the mean of ROUGE-1's and ROUGE-L's F of sentence i, each with the summary that it fits best (as SciTLDR is measured:
//            Cachola et al. 2020, §4)
//   loss     Σ_i α_i (1 − R_i): what is lost in the mean by a sentence that is drawn by the attention's weights α
//   metrics  ROUGE-1 and ROUGE-L of the sentence with the largest weight
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/task.h"

namespace clearhead {

std::unique_ptr<Task> summarise_task(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network);
/// The sentences of the training file, that a vocabulary may be learned from.
std::vector<std::string> summarised_texts(const Recipe& recipe);

}  // namespace clearhead
