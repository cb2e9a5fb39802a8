// The functions that the page's worker calls. Traces and models are files in the module's file system. Answers go to the module's callbacks
// onChunk(bytes) and onEnd(status, type, name, bytes), before the function returns.
#include <emscripten.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/format.h"
#include "base/json.h"
#include "base/parallel.h"
#include "clearhead/model.h"
#include "viewer/open_traces.h"

namespace clearhead {
namespace {

// clang-format off
EM_JS(void, send_chunk, (const char* bytes, size_t size), { Module.onChunk(HEAPU8.slice(bytes, bytes + size)); });
EM_JS(void, send_end, (int status, const char* type, const char* name, const char* bytes, size_t size), {
  Module.onEnd(status, UTF8ToString(type), UTF8ToString(name), HEAPU8.slice(bytes, bytes + size));
});
// clang-format on

void send(const viewer::ApiAnswer& answer) {
  send_end(answer.status, answer.type.c_str(), answer.filename.c_str(), answer.body.data(), answer.body.size());
}

std::unique_ptr<viewer::OpenTraces> open_traces;

// The options with which page_engine.cc found the model loaded.
LoadOptions load_options_of(const Json& given) {
  LoadOptions load;
  for (const WeightStorage storage : {WeightStorage::kBF16, WeightStorage::kInt8, WeightStorage::kInt8Dynamic}) {
    if (given.find("weights")->string() == to_string(storage)) load.weights = storage;
  }
  if (given.find("precision")->string() == to_string(DType::kBF16)) load.precision = DType::kBF16;
  return load;
}

void open(const Json& given) {
  viewer::LoadedTrace::Options options;
  options.command = given.find("command")->string();
  options.load = load_options_of(given);
  for (const Json& one : given.find("answered")->items()) {
    const Json& token = *one.find("token");
    options.answers.push_back({one.find("name")->string(), one.find("probability")->number(),
                               token.is_null() ? std::nullopt : std::optional<int64_t>(token.integer())});
  }
  options.version = given.find("version")->string();
  options.trace.budget_bytes = static_cast<uint64_t>(given.find("budget")->integer());
  options.model = load(given.find("model")->string(), options.load);
  std::vector<viewer::LoadedTrace> traces;
  traces.emplace_back(std::make_shared<const Trace>(Trace::load(given.find("trace")->string())), options);
  open_traces = std::make_unique<viewer::OpenTraces>(std::move(traces));
}

template <class Work>
void answering(const Work& work) {
  try {
    send(work());
  } catch (const std::exception& error) {
    send(viewer::answer_error(error));
  }
}

}  // namespace
}  // namespace clearhead

using namespace clearhead;

extern "C" {

// {"trace": path, "model": path, "weights": …, "precision": …, "command": …, "answered": as in api/info, "version": …, "budget": bytes}
void clearhead_open(const char* json) {
  answering([&]() -> viewer::ApiAnswer {
    set_threads(1);
    open(Json::parse(json, "clearhead_open"));
    return {.body = "{}"};
  });
}

// A request of docs/viewer-api.md. The chunks of a stream are sent first; its answer then has no body.
void clearhead_respond(const char* method, const char* path, const char* query, const char* body) {
  answering([&]() -> viewer::ApiAnswer {
    const viewer::ApiRequest request{
        .path = path, .post = std::string(method) == "POST", .query = viewer::parse_query(query), .body = body};
    return open_traces->respond(request, [](const std::string& chunk) { send_chunk(chunk.data(), chunk.size()); });
  });
}

}  // extern "C"
