// The questions of docs/viewer-api.md as a function: path and parameters in, bytes out. No sockets here: the server is transport around it, and
// tests ask it directly.
#pragma once

#include <exception>
#include <functional>
#include <string>

#include "clearhead/look.h"
#include "viewer/loaded_trace.h"
#include "viewer/parameters.h"

namespace clearhead {

struct ApiRequest {
  std::string path{};  ///< "row", what follows /api/
  bool post = false;
  QueryString query{};
  std::string body{};
};

struct ApiAnswer {
  int status = 200;
  std::string type = "application/json";
  std::string body{};
  std::string filename{};  ///< of an attachment
};

enum class ApiKind : uint8_t {
  kNone,     ///< no such path
  kOnce,     ///< one answer, short enough to be given between the tasks of a longer one
  kLong,     ///< one answer that may take long
  kPatient,  ///< one answer that may take long and that the page can do without for a while: it steps aside for others and is taken up again
  kStream,   ///< frames, one behind the other
  kSurvey,   ///< a stream that may take minutes and can be interrupted and taken up again
  kEvents,   ///< server-sent events
};
ApiKind kind_of(const ApiRequest& request);
bool wants_post(const std::string& path);

/// kOnce, kLong and kPatient. Throws what answer_error() understands.
ApiAnswer answer(LoadedTrace& loaded, const ApiRequest& request, const LookOptions& options = {});

/// kStream, kSurvey and kEvents: hands out chunks in order, the last of them `done`. Throws as answer(); `options.progress` is called now and then.
void stream(LoadedTrace& loaded, const ApiRequest& request, const std::function<void(std::string chunk)>& emit,
            const LookOptions& options = {});
const char* stream_type(const ApiRequest& request);
/// The chunk that ends a stream which failed after it began.
std::string error_chunk(const ApiRequest& request, const std::exception& error);

/// Status and body of an error.
ApiAnswer answer_error(const std::exception& error);
/// {"error": {"code", "message"}} for refusals that are no Error.
ApiAnswer answer_refusal(int status, const std::string& code, const std::string& message);

}  // namespace clearhead
