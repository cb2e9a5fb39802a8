// clearhead why --inside and --score: explanations in terms of heads and layers instead of words.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "clearhead/model.h"
#include "explain/attribution_target.h"

namespace clearhead::cli {

/// The probability of an answer in percent, or the number that is the answer.
std::string printed_answer(const explain::AttributionTarget& target, double answer);

struct InsideView {
  int64_t top = 12;
  bool json = false;
  const std::atomic<bool>* cancel = nullptr;
};
/// Prints the effect of each head on the target's answer, and the answer that each layer would give (logit lens).
void print_inside(const explain::AttributionTarget& target, const InsideView& view);
/// Prints how much of the clean text's answer each of its heads restores when it is patched into the corrupted run, and the effect
/// of the strongest head token by token.
void print_patching(const explain::AttributionTarget& clean, const explain::AttributionTarget& corrupted, const InsideView& view);
/// Prints the decomposition of one score, "QUERY/KEY@L3.H5", into the contributions of the components of its query and of its key.
void print_score(const Model& model, const std::string& text, const std::optional<std::string>& pair, const std::string& place,
                 const InsideView& view);

}  // namespace clearhead::cli
