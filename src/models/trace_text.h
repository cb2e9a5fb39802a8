// From a text to a trace of it: what show, view, trace, ask and atlas do first.
//
// A text within the model's positions is one run. A longer one is an error unless the caller asks to cut it, or to slide a window over it: then every
// window is a run of its own, framed by the model's own special tokens, and each token's row comes from the window where it sees most around it
// (causal models: the one with the longest past).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/trace.h"

namespace clearhead {

/// A named stretch of the text, in bytes of it.
struct NamedBytes {
  std::string name{};
  std::string role{};
  int64_t begin = 0, end = 0;
};

struct TextRequest {
  std::string text{};
  std::optional<std::string> pair{};
  bool truncate = false;
  int64_t window = 0;                ///< tokens of a window, special ones included; 0: no windows
  std::optional<int64_t> overlap{};  ///< tokens shared by neighbours; absent: a quarter of the window
  std::vector<NamedBytes> segments{};
  Interventions interventions{};  ///< places count tokens of a run: of each window, where there are windows
  TraceOptions options{};
  std::function<void(double fraction)> progress = nullptr;  ///< called as layers begin
};

struct TracedText {
  Trace trace{};
  int64_t tokens = 0;  ///< of the whole text
  int64_t cut = 0;     ///< tokens that --truncate left out
  int64_t windows = 1;
};

/// Throws kTooLong naming the limit and the ways out, kInvalidArgument for empty text or windows that do not fit, kBudget before running.
TracedText trace_text(const Model& model, const TextRequest& request);

/// The plan that trace_text would hand to the observer: for naming sizes before a long run.
RunPlan plan_text(const Model& model, const TextRequest& request);

/// Throws kInvalidArgument, with the segment's name, unless it lies inside a text of `size` bytes.
void check_bytes(const NamedBytes& segment, size_t size);

/// Tokens of a text that overlap bytes [begin, end) of it.
Range tokens_of_bytes(const RunText& text, int64_t begin, int64_t end);

/// Segments from JSON: [{"name": "doc 1", "role": "document", "begin": 0, "end": 812}, …], bytes of the text. Throws kFormat naming the field.
std::vector<NamedBytes> segments_from_json(const std::string& json, const std::string& where);

}  // namespace clearhead
