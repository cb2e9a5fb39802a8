// The few answers of a run that a page shows beside its text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/observer.h"

namespace clearhead::explain {

/// One answer of a run, for display. token: the token of the text that a label belongs to.
struct ShownAnswer {
  std::string name{};
  double probability = 0;
  std::optional<int64_t> token{};
};
/// The three most probable answers of a run with TraceRequest::logits, most probable first. For a model that labels tokens: the labels of up
/// to eight tokens of the text, in its order: of those whose most probable label is not "O" or, if the model has no such label, not the
/// most frequent one. Empty for a generated text, which a page shows itself, for several masks, and for a run without answers.
std::vector<ShownAnswer> main_answers(const Model& model, const RunResult& result, const RunText& text);

}  // namespace clearhead::explain
