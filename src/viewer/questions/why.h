// Explains an answer: which parts of the text it came from, by several methods side by side, and how far each can be trusted (api/why).
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "explain/attribution_target.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

struct WhyLook {
  explain::TargetSpec asked{};
  std::optional<int64_t> token{};      ///< the index in the open text of the token whose prediction is explained
  std::vector<std::string> methods{};  ///< names of methods, see explain/attribution.h
  std::string units = "auto";          ///< "word", "sentence", "token", "segment"; "auto": words, but sentences for more than 400 words
  double at_most = 0;                  ///< limit in seconds: a computation that is expected to take longer is not started; 0: no limit
  double share = 0.2;                  ///< share of the items that are removed to measure how far a method can be trusted
};
/// Parses the fields of a POST body. Throws kNotFound for unknown methods, kInvalidArgument for the rest.
WhyLook why_look_of(const Json& body);

struct WhyEvents {
  std::function<void(const Json& cost)> cost{};  ///< called once, first: the expected cost
  std::function<void(double done, const std::string& what)> progress{};
  const std::atomic<bool>* cancel = nullptr;
};

namespace questions {

/// Returns the answer described in docs/viewer-api.md. If the cost exceeds `at_most`, "methods" is null. For a method that the model does
/// not support, the reason takes the place of its result. Throws what attribution_target() throws, kCancelled.
Json why(LoadedTrace& loaded, const WhyLook& look, const WhyEvents& events);

}  // namespace questions
}  // namespace clearhead::viewer
