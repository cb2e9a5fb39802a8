// Selects traces by the numbers and ids in a request, and runs streams on the calling thread.
#include "viewer/open_traces.h"

#include <limits>

#include "base/format.h"
#include "viewer/parameters.h"

namespace clearhead::viewer {

LoadedTrace& OpenTraces::of(const ApiRequest& request) {
  const QueryParameters query(request.query);
  const std::string edited = query.text("edited");
  LoadedTrace& found = numbered(query.text("t"));
  return edited.empty() ? found : found.edited(edited);
}

LoadedTrace* OpenTraces::other_of(const ApiRequest& request) {
  const QueryParameters query(request.query);
  const std::string number = query.text("with"), edited = query.text("with_edited");
  if (number.empty() && edited.empty()) return nullptr;
  LoadedTrace& found = numbered(number.empty() ? query.text("t") : number);
  return edited.empty() ? &found : &found.edited(edited);
}

ApiAnswer OpenTraces::respond(const ApiRequest& request, const std::function<void(std::string chunk)>& emit, const LookOptions& options) {
  bool began = false;
  try {
    switch (checked_kind_of(request)) {
      case ApiKind::kAlone: return answer_alone(request, {.cancel = options.cancel});
      case ApiKind::kStream:
      case ApiKind::kBackground:
      case ApiKind::kEvents: {
        const auto pass_on = [&](std::string chunk) {
          began = true;
          emit(std::move(chunk));
        };
        stream(of(request), request, pass_on, options, other_of(request));
        return {.type = stream_type(request)};
      }
      default: return answer(of(request), request, options, other_of(request));
    }
  } catch (const Error& error) {
    if (!began) return answer_error(error);
    emit(error_chunk(request, error));
    return {.type = stream_type(request)};
  }
}

LoadedTrace& OpenTraces::numbered(const std::string& number) {
  if (traces_.size() == 1 || number.empty()) return first_shown();
  const QueryString query{{"t", number}};
  const int64_t wanted = QueryParameters(query).integer("t", 0, 0, std::numeric_limits<int64_t>::max());
  for (LoadedTrace& loaded : traces_) {
    if (loaded.options().together[loaded.options().at].number == wanted) return loaded;
  }
  fail(ErrorCode::kNotFound, "t={}: there is no such trace.", number);
}

}  // namespace clearhead::viewer
