// From a text to its trace: the first step of show, view, trace, ask and atlas.
//
// A text within the model's positions is one run. A longer text is an error, unless the caller asks to cut it or to
// slide a window over it. Each window is then its own run, with the model's special tokens around it. A token's row
// comes from the window that has the most context around it (causal models: the longest past).
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "models/progress_observer.h"

namespace clearhead {

/// A named range of the text, in bytes.
struct NamedBytes {
  std::string name{};
  std::string role{};
  int64_t begin = 0, end = 0;
};

/// An input, and what its trace keeps.
struct TraceRequest {
  std::string text{};
  std::optional<std::string> pair{};
  std::optional<ModelInput> input{};  ///< in place of a text, for models that read something else (generate/trace_of.h)
  bool truncate = false;
  int64_t window = 0;                ///< tokens per window, special tokens included; 0: no windows
  std::optional<int64_t> overlap{};  ///< tokens shared by neighbouring windows; absent: a quarter of the window
  std::vector<NamedBytes> segments{};
  Interventions interventions{};  ///< places are tokens of a run, that is of each window
  TraceOptions options{};
  RunProgress progress = nullptr;
  const std::atomic<bool>* cancel = nullptr;  ///< throws kCancelled once it is set
};

struct TracedText {
  Trace trace{};
  int64_t tokens = 0;  ///< of the whole text
  int64_t cut = 0;     ///< tokens that `truncate` left out
  int64_t windows = 1;
};

/// The first `longest` tokens of a text; special tokens at its end take the place of its last ones. 0: all.
Encoding cut_to(const Encoding& whole, int64_t longest);

/// Throws kTooLong with the limit and the ways out, kInvalidArgument for an empty text or windows that do not fit,
/// kUnsupported for an encoder-decoder or for windows over a pair, kBudget before the run.
TracedText trace_text(const Model& model, const TraceRequest& request);

/// The plan that trace_text would give to the observer, to report sizes before a long run.
RunPlan plan_text(const Model& model, const TraceRequest& request);

/// Throws kInvalidArgument, with the segment's name, unless the segment lies inside a text of `size` bytes.
void check_bytes(const NamedBytes& segment, size_t size);

/// The tokens that overlap bytes [begin, end) of the text.
Range tokens_of_bytes(const RunText& text, int64_t begin, int64_t end);

/// Parses segments from JSON: [{"name": "doc 1", "role": "document", "begin": 0, "end": 812}, …], in bytes of the text.
/// Throws kFormat, naming the field.
std::vector<NamedBytes> segments_from_json(const std::string& json, const std::string& where);

}  // namespace clearhead
