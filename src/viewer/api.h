// The requests of docs/viewer-api.md as a function: path and parameters in, bytes out. There are no sockets here: the
// server adds transport, and tests call these functions directly.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <string>

#include "clearhead/look.h"
#include "viewer/loaded_trace.h"
#include "viewer/parameters.h"

namespace clearhead::viewer {

struct ApiRequest {
  std::string path{};  ///< what follows /api/, for example "row"
  bool post = false;
  QueryString query{};
  std::string body{};
};

struct ApiAnswer {
  int status = 200;
  std::string type = "application/json";
  std::string body{};
  std::string filename{};  ///< set if the answer is an attachment
};

enum class ApiKind : uint8_t {
  kNone,  ///< no such path
  kOnce,  ///< one answer, short enough to be given between the tasks of a longer job
  kLong,  ///< one answer that may take long
  /// One answer that may take long and that the page can wait for. The job yields to other jobs and is resumed.
  kDeferrable,
  kStream,      ///< a stream of frames
  kBackground,  ///< a stream that may take minutes, and can be interrupted and resumed
  kEvents,      ///< server-sent events
  kAlone,       ///< one answer that needs no trace and does not block other requests
};
/// Returns the kind of answer that a request gets.
ApiKind kind_of(const ApiRequest& request);
/// kind_of() for a request that was not checked before. Throws kNotFound for an unknown path, and kInvalidArgument for GET where POST is
/// expected or the reverse.
ApiKind checked_kind_of(const ApiRequest& request);

/// For kOnce, kLong and kDeferrable. `other`: the second trace of a question that compares two traces; null: the same trace. Throws
/// errors that answer_error() translates.
ApiAnswer answer(LoadedTrace& loaded, const ApiRequest& request, const LookOptions& options = {}, LoadedTrace* other = nullptr);

struct AloneOptions {
  const std::atomic<bool>* cancel = nullptr;  ///< set to true to stop with kCancelled
  std::chrono::seconds time{20};              ///< time limit, after which the work is stopped with kCancelled
};
/// For kAlone. May run on any thread. Throws as answer() does.
ApiAnswer answer_alone(const ApiRequest& request, const AloneOptions& options = {});

/// For kStream, kBackground and kEvents. Emits chunks in order; the last one is the event `done`. Throws as answer() does.
/// Calls `options.progress` from time to time.
void stream(LoadedTrace& loaded, const ApiRequest& request, const std::function<void(std::string chunk)>& emit,
            const LookOptions& options = {}, LoadedTrace* other = nullptr);
/// The media type of a stream's answer.
const char* stream_type(const ApiRequest& request);
/// The chunk that ends a stream that failed after it had started.
std::string error_chunk(const ApiRequest& request, const std::exception& error);

/// The status and body for an error.
ApiAnswer answer_error(const std::exception& error);
/// {"error": {"code", "message"}}, for a refusal that does not come from an Error.
ApiAnswer answer_refusal(int status, const std::string& code, const std::string& message);

}  // namespace clearhead::viewer
