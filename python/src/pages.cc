// Pages of the viewer: written as a file, or in a frame of a notebook that asks this process for every number.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <mutex>
#include <vector>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/trace.h"
#include "loaded.h"
#include "module.h"
#include "viewer/export.h"
#include "viewer/open_traces.h"
#include "viewer/side_by_side.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

// The loaded traces do not own the traces: the caller keeps those alive.
std::vector<viewer::LoadedTrace> opened(const std::vector<const Trace*>& traces, const viewer::LoadedTrace::Options& options) {
  std::vector<viewer::ShownTrace> shown;
  for (const Trace* trace : traces) {
    if (!trace) fail(ErrorCode::kInvalidArgument, "traces: expected traces, found None");
    shown.push_back({.trace = std::shared_ptr<const Trace>(std::shared_ptr<const Trace>(), trace)});
  }
  if (shown.size() > 1) return viewer::side_by_side(shown, options);
  std::vector<viewer::LoadedTrace> one;
  one.emplace_back(shown[0].trace, options);
  return one;
}

viewer::LoadedTrace::Options options_with(const Loaded* model) {
  viewer::LoadedTrace::Options options{.command = "trace.widget()"};
  if (!model) return options;
  options.model = model->model;
  options.load = model->gradients->options();
  options.load.gradients = false;
  return options;
}

// Answers the requests of docs/viewer-api.md without HTTP, one at a time: notebooks may send them from several threads.
class PageServer {
 public:
  PageServer(const std::vector<const Trace*>& traces, const Loaded* model) : traces_(opened(traces, options_with(model))) {}

  // Returns (status, media type, file name, body). The chunks of a stream go to `emit`; its body is empty.
  nb::tuple respond(const std::string& method, const std::string& path, const std::string& query, const std::string& body,
                    const nb::callable& emit) {
    const viewer::ApiRequest request{.path = path, .post = method == "POST", .query = viewer::parse_query(query), .body = body};
    const auto pass_on = [&](const std::string& chunk) {
      const nb::gil_scoped_acquire gil;
      emit(nb::bytes(chunk.data(), chunk.size()));
    };
    const viewer::ApiAnswer answer = without_gil([&] {
      const std::lock_guard lock(mutex_);
      return traces_.respond(request, pass_on);
    });
    return nb::make_tuple(answer.status, answer.type, answer.filename, nb::bytes(answer.body.data(), answer.body.size()));
  }

 private:
  std::mutex mutex_;
  viewer::OpenTraces traces_;
};

}  // namespace

void add_pages(nb::module_& module) {
  module.def(
      "_page",
      [](const std::vector<const Trace*>& traces, const std::string& path, uint64_t budget, const std::string& state, const Loaded* model) {
        without_gil([&] {
          viewer::LoadedTrace::Options options = options_with(model);
          options.command = "";
          std::vector<viewer::LoadedTrace> loaded = opened(traces, options);
          viewer::export_html(loaded, path,
                              {.command = "trace.view()", .state = state, .budget_bytes = budget, .with_models = model != nullptr});
        });
      },
      "traces"_a, "path"_a, "budget"_a, "state"_a, "model"_a.none());
  module.def("_framed_page", &viewer::framed_page);
  nb::class_<PageServer>(module, "_PageServer")
      .def(nb::init<const std::vector<const Trace*>&, const Loaded*>(), "traces"_a, "model"_a.none(), nb::keep_alive<1, 2>())
      .def("respond", &PageServer::respond, "method"_a, "path"_a, "query"_a, "body"_a, "emit"_a);
}

}  // namespace clearhead::python
