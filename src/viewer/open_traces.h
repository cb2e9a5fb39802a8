// The traces of one viewer. The parameters of a request select one of them: `t` and `edited` its trace, `with` and `with_edited` the trace
// that it is compared with.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "viewer/api.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer {

/// Not thread-safe: one thread owns the traces.
class OpenTraces {
 public:
  /// One trace, or several that were opened together (side_by_side.h).
  explicit OpenTraces(std::vector<LoadedTrace> traces) : traces_(std::move(traces)) {}

  /// The trace that is shown first: for a training run, that of the last step.
  LoadedTrace& first_shown() { return traces_[0].options().is_run ? traces_.back() : traces_.front(); }
  /// The trace of a request. Throws kNotFound for a number that no trace has, and kStale for an edited run that has been replaced.
  LoadedTrace& of(const ApiRequest& request);
  /// The trace that a request compares with; null if the request names none. Throws as of() does.
  LoadedTrace* other_of(const ApiRequest& request);

  /// Answers a request of any kind on this thread, for a page that is not reached over HTTP. The chunks of a stream go to `emit`, in order;
  /// the returned answer then has status 200 and no body. A refused request gets the answer of answer_error(). Other exceptions are passed
  /// on.
  ApiAnswer respond(const ApiRequest& request, const std::function<void(std::string chunk)>& emit, const LookOptions& options = {});

 private:
  LoadedTrace& numbered(const std::string& number);

  std::vector<LoadedTrace> traces_;
};

}  // namespace clearhead::viewer
