// Runs a model on a text and returns the trace: the first step of the commands show, view, trace, ask and atlas.
//
// A text that fits the model's positions is one run. A longer text is an error, unless the caller asks to truncate it or to
// slide a window over it. Each window is then a run of its own, with the model's special tokens around it. Each token's row
// is taken from the window in which it has the most context (causal models: the longest past).
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

/// An input, and the options of its trace.
struct TraceRequest {
  ModelInput input{};
  bool truncate = false;
  int64_t window = 0;                ///< tokens per window, special tokens included; 0: no windows
  std::optional<int64_t> overlap{};  ///< tokens shared by neighbouring windows; absent: a quarter of the window
  std::vector<NamedBytes> segments{};
  Interventions interventions{};  ///< tokens are numbered within a run, that is, within each window
  TraceOptions options{};
  bool keep = true;  ///< false: the trace stays empty; for callers that need only the logits
  /// Compute the logits of the run: those of the last token (causal model), of the mask tokens (masked model), or of all tokens of the
  /// target (model that generates text from a source).
  bool logits = false;
  /// The tokens that the model generated from this input before. Absent: it generates them.
  std::optional<std::vector<int32_t>> written{};
  RunProgress progress = nullptr;
  const std::atomic<bool>* cancel = nullptr;  ///< once it is set, the run throws kCancelled
};

struct TracedText {
  Trace trace{};
  int64_t tokens = 0;  ///< number of tokens of the whole text
  int64_t cut = 0;     ///< number of tokens that `truncate` removed
  int64_t windows = 1;
  RunResult result{};  ///< of the run, with logits only if TraceRequest::logits is set; empty after a run in windows
};

/// Truncates a text to `longest` tokens, and keeps the special tokens at its end; 0: returns the whole text.
Encoding truncated_to(const Encoding& whole, int64_t longest);

/// Runs the model on the request's text. Throws kTooLong with the limit and possible remedies; kInvalidArgument for an empty
/// text, or for a window without room for new tokens; kUnsupported for an encoder-decoder, and for windows over a pair or with logits; kBudget,
/// before anything is computed, for a trace beyond its budget (trace.h).
TracedText trace_text(const Model& model, const TraceRequest& request);

/// Returns the plan of the whole text without running the model, to report sizes before a long run.
RunPlan plan_text(const Model& model, const TraceRequest& request);

/// Throws kInvalidArgument, with the segment's name, unless the segment lies inside a text of `size` bytes.
void check_bytes(const NamedBytes& segment, size_t size);

/// Returns the range of tokens that overlap bytes [begin, end) of the text; an empty range if there are none.
Range tokens_of_bytes(const RunText& text, int64_t begin, int64_t end);

/// Parses segments from JSON: [{"name": "doc 1", "role": "document", "begin": 0, "end": 812}, …], in bytes of the text.
/// Throws kFormat with the name of the field.
std::vector<NamedBytes> segments_from_json(const std::string& json, const std::string& where);

}  // namespace clearhead
