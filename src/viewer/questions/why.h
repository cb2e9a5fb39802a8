// Which parts of the text an answer came from, by several methods side by side, and how far to trust each here (api/why).
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "judge/subject.h"
#include "viewer/loaded_trace.h"

namespace clearhead {

struct WhyLook {
  judge::Asked asked{};
  std::optional<int64_t> token{};      ///< the id of the text that is explained
  std::vector<std::string> methods{};  ///< of judge/attribution.h
  std::string items = "auto";          ///< "word", "sentence", "token"; "auto": words, of more than 400 sentences
  double at_most = 0;                  ///< seconds: what is expected to take longer is not begun; 0: no limit
  double share = 0.2;                  ///< of items that are taken away to see how far a method can be trusted
};
/// The fields of a POST body. Throws kNotFound for methods there are not, kInvalidArgument for the rest.
WhyLook why_look_of(const Json& body);

struct WhyEvents {
  std::function<void(const Json& cost)> cost{};  ///< first, once: what it will take
  std::function<void(double done, const std::string& what)> progress{};
  const std::atomic<bool>* cancel = nullptr;
};

namespace questions {

/// The answer of docs/viewer-api.md. Where the cost is beyond `at_most`, "methods" is null. A method that the model does not have says why in its place.
/// Throws what subject_of() throws, kCancelled.
Json why(LoadedTrace& loaded, const WhyLook& look, const WhyEvents& events);

}  // namespace questions
}  // namespace clearhead
